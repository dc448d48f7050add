//! Buffers that connections borrow while they have something to read or write.
//!
//! An idle connection owns none: ten thousand of them share a few per thread.

use std::cell::RefCell;

use bytes::BytesMut;

/// Capacity of a fresh buffer in bytes.
const CAPACITY: usize = 16 * 1024;
/// Buffers that grew beyond this are not kept, in bytes.
const MAX_CAPACITY: usize = 4 * CAPACITY;
/// Free buffers kept per thread; a task borrows two at a time.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// The connection's buffer if it holds something, else a free one.
pub(super) fn borrow(own: &mut BytesMut) -> BytesMut {
    if own.is_empty() {
        FREE.with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| BytesMut::with_capacity(CAPACITY))
    } else {
        std::mem::take(own)
    }
}

/// Gives a buffer back. What it still holds stays with the connection, in a
/// buffer of its own size if that is much smaller.
pub(super) fn give_back(own: &mut BytesMut, mut buffer: BytesMut) {
    if !buffer.is_empty() {
        if buffer.len() * 4 > buffer.capacity() {
            *own = buffer;
            return;
        }
        *own = BytesMut::from(&buffer[..]);
        buffer.clear();
    }
    // Makes the room in front of what was read usable again.
    buffer.reserve(CAPACITY);
    if buffer.capacity() <= MAX_CAPACITY {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
