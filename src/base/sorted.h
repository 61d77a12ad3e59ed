/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Search in an ascending array.
 */
#ifndef BASE_SORTED_H
#define BASE_SORTED_H

#include <stddef.h>

/*
 * LOWER_BOUND(count, i, is_below) - the first index below @count of which @is_below, an expression
 * of the index @i, is false; @count if there is none. It is true of all indices before that.
 */
#define LOWER_BOUND(count, i, is_below)                          \
	({                                                       \
		size_t first_ = 0, end_ = (count);               \
                                                                 \
		while (first_ < end_) {                          \
			size_t i = first_ + (end_ - first_) / 2; \
                                                                 \
			if (is_below)                            \
				first_ = i + 1;                  \
			else                                     \
				end_ = i;                        \
		}                                                \
		first_;                                          \
	})

#endif
