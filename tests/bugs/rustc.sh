#!/bin/sh
# A compiler for the house's own crates, with the bank of known bugs in it. Cargo calls it where RUSTC_WORKSPACE_WRAPPER
# names it; what others wrote (RocksDB) is compiled as ever, and not once more.
exec "$@" --cfg windlass_bugs
