# SPDX-License-Identifier: BSD-3-Clause
#
# What init and every job use: the lines for the host, the verdict, the disk, the kernel log.
disk=/dev/nvme0n1

# tell KEY [VALUE...]: a line for the host.
tell()
{
	echo "NESTOR-GUEST: $*"
}

# The verdict, once, at the job's end; "ok" only from a job whose every check has passed.
ok()
{
	: >/run/verdict
	tell ok
	exit 0
}

fail()
{
	: >/run/verdict
	dmesg | tail -n 20 | sed 's/^/    /'
	tell FAIL "$*"
	exit 1
}

# parameter NAME [DEFAULT]: the value of NAME= on the kernel command line.
parameter()
{
	local word

	for word in $(cat /proc/cmdline); do
		case $word in "$1="*) echo "${word#*=}"; return ;; esac
	done
	echo "${2:-}"
}

# has_parameter WORD: WORD stands on the kernel command line.
has_parameter()
{
	case " $(cat /proc/cmdline) " in *" $1 "*) return 0 ;; esac
	return 1
}

wait_disk()
{
	local i=0

	until [ -b "$disk" ]; do
		[ $i -lt 200 ] || fail "no $disk after 20 seconds"
		i=$((i + 1))
		usleep 100000
	done
}

# find_device "VENDOR DEVICE": the directories of PCI devices with these ids.
find_device()
{
	local d

	for d in /sys/bus/pci/devices/*; do
		[ "$(cat $d/vendor) $(cat $d/device)" != "$1" ] || echo $d
	done
}

# How the disk's DMA is translated: DMA (strict), DMA-FQ (lazy), identity, or none.
iommu_type()
{
	cat /sys/class/nvme/nvme0/device/iommu_group/type 2>/dev/null || echo none
}

# On Arm, and with intel_iommu=on, the disk must be translated, unless the command line says otherwise.
check_iommu()
{
	local type

	type=$(iommu_type)
	tell iommu_type "$type"
	has_parameter nestor.noiommu && return
	case $(uname -m) in
	aarch64) ;;
	*) case $(parameter intel_iommu) in on*) ;; *) return ;; esac ;;
	esac
	case $type in
	DMA | DMA-FQ) ;;
	none) fail "the disk has no IOMMU group" ;;
	*) has_parameter iommu=pt || has_parameter iommu.passthrough=1 ||
		fail "the disk's IOMMU group has type $type" ;;
	esac
}

# The kernel must have had nothing to say about faults, the disk, the file system or itself.
check_log()
{
	local line

	line=$(dmesg | grep -E \
		-e 'DMAR:.*([Ff]ault|timed? ?out|[Ee]rror|[Ff]ail|Firmware)' -e '\[(DMA|INTR-REMAP)[^]]*\] ' \
		-e 'arm-smmu-v3.*(event|[Uu]nexpected|CMDQ|timed? ?out|[Ee]rror|[Ff]ail|GERROR|overflow)' \
		-e 'nvme.*(timeout|[Ee]rror|I/O|resetting|controller is down|[Dd]isabl|[Ff]ail)' \
		-e '(I/O|critical .*) error' \
		-e 'EXT4-fs.*(error|warning)' -e 'JBD2:.*[Ee]rror' \
		-e '^(\[[ 0-9.]*\] )?(WARNING:|BUG:|INFO: task|rcu: INFO:)' -e 'Call Trace:' | head -n 1)
	[ -z "$line" ] || fail "kernel log: $line"
}

# The data that jobs write: a little true noise, read from many places of it, since /dev/urandom is slow on
# an emulated processor. Laps and files start at different offsets within a page, so no two pages written
# are the same and one that lands in another's place is found out.
noise_bytes=3145728

make_noise()
{
	head -c $noise_bytes /dev/urandom >/tmp/noise || fail "no memory for the test data"
}

# noise SHIFT SIZE: SIZE bytes to stdout; another SHIFT gives other bytes.
noise()
{
	local at=$(($1 * 7919 % 1000003)) left=$2 n

	while [ $left -gt 0 ]; do
		n=$((noise_bytes - at))
		[ $n -le $left ] || n=$left
		dd if=/tmp/noise bs=65536 iflag=skip_bytes,count_bytes skip=$at count=$n status=none || return 1
		left=$((left - n))
		at=$(((at + 4099) % 1000003))
	done
}

# check_sums FILE: every file that FILE names, relative to /mnt, has its sum.
check_sums()
{
	(cd /mnt && sha256sum -c "$1" >/run/check 2>&1) ||
		fail "wrong data: $(grep -v ': OK$' /run/check | head -n 1)"
}
