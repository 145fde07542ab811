//! The SSM agent's data messages, put in order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::frame::{Frame, PayloadType};

/// Messages kept ahead of a missing one, and their bytes. What is not kept is not acknowledged, so it comes again.
const AHEAD_LIMIT: usize = 10_000;
const AHEAD_BYTES_LIMIT: usize = 16 * 1024 * 1024;
/// Acknowledgements repeated after a reconnect. The SSM agent resends only its oldest message, once per time-out, so each
/// acknowledgement lost with the old websocket would cost it a tenth of a second.
const RECENT_LIMIT: usize = 512;
const PENDING_LIMIT: usize = 10_000;

/// What an acknowledgement says about the acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) sequence: i64,
    pub(crate) message_id: [u8; 16],
}

/// Payload of one data message, in order.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) payload: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Incoming {
    expected: i64,
    ahead: BTreeMap<i64, Delivery>,
    ahead_bytes: usize,
    deliverable: VecDeque<Delivery>,
    receipts: VecDeque<Receipt>,
    recent: VecDeque<Receipt>,
}

impl Incoming {
    /// Takes one `output_stream_data`. Duplicates are acknowledged again, or a lost acknowledgement would hold up the SSM
    /// agent for ever.
    pub(crate) fn accept(&mut self, frame: Frame) {
        let sequence = frame.sequence_number;
        let delivery = Delivery { payload_type: frame.payload_type, payload: frame.payload };
        if sequence == self.expected {
            self.deliver(delivery);
        } else if sequence > self.expected && !self.ahead.contains_key(&sequence) && !self.keep(sequence, delivery) {
            return;
        }
        let receipt = Receipt { sequence, message_id: frame.message_id };
        push_bounded(&mut self.receipts, receipt, PENDING_LIMIT);
        push_bounded(&mut self.recent, receipt, RECENT_LIMIT);
    }

    pub(crate) fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    /// Whether a message is missing in front of others.
    pub(crate) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    pub(crate) fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliverable.pop_front()
    }

    pub(crate) fn poll_receipt(&mut self) -> Option<Receipt> {
        self.receipts.pop_front()
    }

    pub(crate) fn reconnected(&mut self) {
        self.receipts.clone_from(&self.recent);
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.deliverable.push_back(delivery);
        self.expected += 1;
        while let Some(next) = self.ahead.remove(&self.expected) {
            self.ahead_bytes -= next.payload.len();
            self.deliverable.push_back(next);
            self.expected += 1;
        }
    }

    fn keep(&mut self, sequence: i64, delivery: Delivery) -> bool {
        let bytes = self.ahead_bytes + delivery.payload.len();
        if self.ahead.len() >= AHEAD_LIMIT || bytes > AHEAD_BYTES_LIMIT {
            return false;
        }
        self.ahead_bytes = bytes;
        // A copy, because the slice may hold on to a much larger read buffer.
        let payload = Bytes::copy_from_slice(&delivery.payload);
        self.ahead.insert(sequence, Delivery { payload, ..delivery });
        true
    }
}

fn push_bounded(queue: &mut VecDeque<Receipt>, receipt: Receipt, limit: usize) {
    if queue.len() >= limit {
        queue.pop_front();
    }
    queue.push_back(receipt);
}
