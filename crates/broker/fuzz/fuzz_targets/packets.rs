//! Feeds bytes to the packet path.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = dormouse_broker::fuzzing::packets(bytes);
});
