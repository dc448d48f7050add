//! Any body from a device gives a value or a refusal, never a panic; so does
//! any record from a journal. Run with `cargo +nightly fuzz run decode`.

#![no_main]

use dormouse_core::clock::Timestamp;
use dormouse_core::decode::decode_all;
use dormouse_core::record::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    decode_all(body, Timestamp::from_millis(1_767_323_045_000));
    std::hint::black_box(Entry::decode(body));
});
