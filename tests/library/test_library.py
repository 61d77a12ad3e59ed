# SPDX-License-Identifier: BSD-3-Clause
#
# The library as somebody else's build sees it: installed, found by pkg-config, its headers alone.
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tap import main, test  # noqa: E402

SOURCE, BUILD = map(pathlib.Path, sys.argv[1:3])
HEADERS = sorted((SOURCE / "include/nestor").glob("*.h"))

PROGRAM = r"""
#include <nestor/soft_host.h>
#include <nestor/viommu.h>

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
	(void)opaque, (void)address, (void)data;
}

int main(void)
{
	struct nst_soft_config soft = { 0 };
	struct nst_vtd_config config = { .send_msi = no_msi };
	struct nst_viommu *unit;
	struct nst_host *host;

	if (nst_host_soft_create(&soft, &host) || nst_vm_create(host, NULL, &config.vm) ||
	    nst_vtd_create(&config, &unit))
		return 1;
	if (nst_viommu_mmio_read(unit, 0, 4) != 0x10)	/* version 1.0 */
		return 2;
	nst_viommu_destroy(unit);
	nst_vm_destroy(config.vm);
	nst_host_destroy(host);
	return 0;
}
"""


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{args}\n{done.stdout}{done.stderr}"
    return done.stdout


@test
def a_program_builds_against_what_is_installed(scratch):
    run("meson", "install", "-C", BUILD, "--destdir", scratch, "--no-rebuild")
    pc = next(scratch.rglob("nestor.pc"))
    (scratch / "p.c").write_text(PROGRAM)
    flags = run("pkg-config", "--cflags", "--libs", "nestor",
                env=dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(scratch)))
    run("gcc", "-Wall", "-Wextra", "-Werror", "-o", scratch / "p", scratch / "p.c", *flags.split())
    library = next(scratch.rglob("libnestor.so"))
    run(scratch / "p", env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent)))
    installed = {h.name for h in scratch.rglob("nestor/*.h")}
    assert installed == {h.name for h in HEADERS}, installed
    assert list(scratch.rglob("libnestor.a")) and list(scratch.rglob("bin/nestor"))


@test
def every_header_stands_alone_in_c_and_cxx(scratch):
    for header in HEADERS:
        for language in ("c", "c++"):
            file = scratch / f"h.{language}"
            file.write_text(f"#include <nestor/{header.name}>\n")
            run("clang", "-x", language, "-Wall", "-Werror", "-Wno-unused-const-variable", "-fsyntax-only",
                "-I", SOURCE / "include", file)


@test
def exactly_the_declared_functions_are_exported(scratch):
    declared = set()
    for header in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        declared |= set(re.findall(r"NST_API[^;{]*?\b(nst_\w+)\(", text))
    library = next(BUILD.glob("libnestor.so"))
    exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    assert exported == declared, (exported - declared, declared - exported)


@test
def the_library_never_ends_the_process_or_prints(scratch):
    used = {line.split()[-1].split("@")[0] for line in
            run("nm", "-D", "--undefined-only", next(BUILD.glob("libnestor.so"))).splitlines()}
    forbidden = {"exit", "_exit", "printf", "puts", "putchar", "fprintf", "perror", "syslog", "fputs"}
    assert not used & forbidden, used & forbidden


main()
