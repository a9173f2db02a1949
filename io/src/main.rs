//! The `highwater` binary.

use std::process::ExitCode;

/// Blocks of 64 KiB to some MiB come and go all the time; this allocator hands them out again without asking the kernel
/// for fresh pages, and keeps threads out of each other's way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    highwater_io::cli::run()
}
