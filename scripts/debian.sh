# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What scripts/setup and scripts/test-kernel share: progress and errors, the cache with its lock and stamps,
# packages of this machine, and the private apt root through which packages of other suites and
# architectures come. To be sourced, with $prefix set to what stands before each line of progress.

readonly SUITE=trixie BACKPORTS=trixie-backports

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here top=${here%/*}
started=${EPOCHREALTIME//[!0-9]/}
work=""

say()
{
	local ms=$(((${EPOCHREALTIME//[!0-9]/} - started) / 1000))

	printf '[%s] %3d.%d s  %s\n' "$prefix" $((ms / 1000)) $((ms % 1000 / 100)) "$*" >&2
}

die()
{
	printf '[%s] error: %s\n' "$prefix" "$*" >&2
	exit 1
}

# quietly WHAT COMMAND...: run with the output kept aside; on failure show its end and say what failed.
quietly()
{
	local what=$1

	shift
	"$@" >"$work/log" 2>&1 </dev/null && return
	tail -n 15 "$work/log" | sed 's/^/    /' >&2
	die "$what"
}

# ---- the cache

cache=${NESTOR_CACHE:-}
if [ -z "$cache" ]; then
	[ -n "${XDG_CACHE_HOME:-${HOME:-}}" ] || die "set HOME or NESTOR_CACHE: there is no place for the cache."
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/nestor
fi
[ "${cache#/}" != "$cache" ] || cache=$PWD/$cache
readonly cache

has_stamp() { [ -f "$1" ] && [ "$(<"$1")" = "$2" ]; }

# begin_work LOCK WHO: take the lock, or wait for WHO has it; then $work is an empty directory in the cache,
# which goes with this process.
begin_work()
{
	command -v apt-get >/dev/null || die "this machine has no apt: Debian 12 is needed."
	mkdir -p "$cache" && [ -w "$cache" ] || die "the cache directory $cache cannot be written."
	exec 9>"$cache/.$1"
	if ! flock -n 9; then
		say "$2 is at work, waiting for it"
		flock 9
	fi
	# With the lock held, any working directory is what a killed run left.
	rm -rf "$cache/.work-$1".*
	work=$(mktemp -d "$cache/.work-$1.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# put DIR STAMP PLACE: the finished DIR becomes PLACE.
put()
{
	printf '%s\n' "$2" >"$1/.stamp"
	if [ -e "$3" ]; then
		mv -T "$3" "$work/old.${3##*/}"
	fi
	mv -T "$1" "$3"
}

# ---- packages of this machine

# missing_packages PACKAGE...: those that are not installed.
missing_packages()
{
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		awk -v want="$*" '
			$1 == "installed" { have[$2] = 1 }
			END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

# install_packages PACKAGE...: those that are missing; before apt_root.
install_packages()
{
	local -a missing as_root=()

	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} != 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "not root and no sudo here; as root: apt-get install ${missing[*]}"
		as_root=(sudo)
	fi
	say "installing ${missing[*]}"
	as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
	"${as_root[@]}" update >"$work/log" 2>&1 || say "apt-get update had errors, trying all the same"
	quietly "apt-get could not install ${missing[*]}." \
		"${as_root[@]}" install -y --no-install-recommends "${missing[@]}"
	[ -z "$(missing_packages "$@")" ] ||
		die "apt-get installed its packages, yet these are missing: $(missing_packages "$@" | xargs)."
}

# ---- the private apt root

# The suite this machine itself was installed from.
machine_suite() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# The mirror of that suite, as apt reads its own configuration.
machine_mirror()
{
	local codename

	codename=$(machine_suite)
	[ -n "$codename" ] || die "/etc/os-release names no VERSION_CODENAME: is this a Debian machine?"
	mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
		awk -v c="$codename" '$1 == c && $2 !~ /^cdrom:/ && !u { u = $2 } END { print u }')
	[ -n "$mirror" ] ||
		die "apt has no source for this machine's own suite ($codename), so there is no mirror to ask."
}

# apt_root SUITE...: point every later apt command at a root of our own with just these suites. The
# machine's proxy and transport settings are taken over; its hooks are not. With apt_foreign=arm64 packages
# can be had as NAME:arm64 too; with apt_arch=arm64 all are of that architecture.
apt_root()
{
	local root=$work/apt suite keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
	local foreign=${apt_foreign:+"\"$apt_foreign\";"}

	[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 machines are supported so far."
	[ -f "$keyring" ] || die "$keyring is missing: install the package debian-archive-keyring."
	machine_mirror
	mkdir -p "$root"/{lists/partial,cache/archives/partial}
	: >"$root/status"
	for suite in "$@"; do
		printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
	done >"$root/sources.list"
	printf 'Package: *\nPin: release n=%s\nPin-Priority: 600\n' "$BACKPORTS" >"$root/preferences"
	{
		apt-config dump | grep -E '^Acquire::(http|https|ftp|tor|Check-|ForceIPv|Retries)' || true
		cat <<-END
			Acquire::Languages "none";
			Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
			APT::Architecture "${apt_arch:-amd64}";
			APT::Architectures { $foreign "${apt_arch:-amd64}"; };
			APT::Install-Recommends "false";
			APT::Sandbox::User "root";
			Debug::NoLocking "true";
			Dir::Cache "$root/cache";
			Dir::State::lists "$root/lists";
			Dir::State::status "$root/status";
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "/dev/null";
			Dir::Etc::preferences "$root/preferences";
			Dir::Etc::preferencesparts "/dev/null";
			Dir::Etc::sourcelist "$root/sources.list";
			Dir::Etc::sourceparts "/dev/null";
		END
	} >"$root/apt.conf"
	export APT_CONFIG=$root/apt.conf
	say "reading the package lists of $*"
	quietly "this machine's mirror did not give the package lists of $*, or debian-archive-keyring is too old." \
		apt-get -qq --error-on=any update
}

newest_version() { apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p'; }

# download DIR PACKAGE...: just these packages.
download()
{
	local dir=$1

	shift
	mkdir "$dir"
	quietly "the download of $* failed." env -C "$dir" apt-get -q download "$@"
}

# download_all DIR PACKAGE...: these and all that they depend on.
download_all()
{
	local dir=$1

	shift
	mkdir -p "$dir/partial"
	quietly "the download of $* failed." \
		apt-get -q -y install --download-only -o "Dir::Cache::archives=$dir" "$@"
}

# A program of the Debian 13 tree, by the tree's own loader.
tree_run()
{
	local root=$1 program=$2

	shift 2
	"$root/lib64/ld-linux-x86-64.so.2" \
		--library-path "$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu" "$root/$program" "$@"
}

# wrap_programs ROOT DIR...: let the programs in DIRs of a tree, which are run by name, run with the tree's own
# loader and libraries: each becomes a script beside its NAME.elf. Links to it may be in any directory.
wrap_programs()
{
	local root=$1 file up

	shift
	while IFS= read -r file; do
		[ "$(head -c 4 "$root/$file" | tail -c 3)" = ELF ] || continue
		up=$(sed 's,[^/]*,..,g' <<<"${file%/*}")
		mv "$root/$file" "$root/$file.elf"
		cat >"$root/$file" <<-END
			#!/bin/sh
			file=\$0
			[ ! -L "\$file" ] || file=\$(readlink -f "\$file")
			dir=\${file%/*}
			exec "\$dir/$up/lib64/ld-linux-x86-64.so.2" --argv0 "\$0" \\
					--library-path "\$dir/$up/usr/lib/x86_64-linux-gnu" "\$dir/${file##*/}.elf" "\$@"
		END
		chmod 755 "$root/$file"
	done < <(cd "$root" && find "$@" -type f -perm -1 ! -name '*.so*')
}

# unpack_all DIR INTO: every package of DIR, as many at a time as there are processors.
unpack_all()
{
	find "$1" -name '*.deb' -print0 | xargs -0 -P "$(nproc)" -I DEB dpkg-deb -x DEB "$2"
}
