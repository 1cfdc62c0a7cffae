//! Where every message passes on its way in and out: copies for the trace and the collector.
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::collector::Collector;
use crate::config::EngineConfig;
use crate::engine::flow::Flow;
use crate::engine::metrics::Metrics;
use crate::trace::{Kept, Trace, copy};

/// Whoever wants copies. Costs nothing when nobody does.
pub(super) struct Tap {
    /// Shared with threads that read; they hold it for the time of a copy of one call.
    trace: Option<Arc<Mutex<Trace>>>,
    collector: Option<Collector>,
    metrics: Arc<Metrics>,
}

impl Tap {
    pub fn open(config: &EngineConfig, metrics: Arc<Metrics>) -> io::Result<Tap> {
        let trace =
            (config.trace_bytes > 0).then(|| Arc::new(Mutex::new(Trace::new(config.trace_bytes))));
        let hep = config.hep.clone();
        let collector = hep.map(|hep| Collector::start(hep, metrics.clone()));
        Ok(Tap {
            trace,
            collector: collector.transpose()?,
            metrics,
        })
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    pub fn trace(&self) -> Option<Arc<Mutex<Trace>>> {
        self.trace.clone()
    }

    pub fn received(&self, at_us: u64, flow: Flow, bytes: &[u8]) {
        self.pass((at_us, false), flow, bytes);
    }

    pub fn sent(&self, at_us: u64, flow: Flow, bytes: &[u8]) {
        self.pass((at_us, true), flow, bytes);
    }

    pub fn leg(&self, call: &str, call_id: &str) {
        if let Some(trace) = &self.trace {
            trace.lock().link(call, call_id);
        }
    }

    fn pass(&self, (at_us, sent): (u64, bool), flow: Flow, bytes: &[u8]) {
        if self.trace.is_none() && self.collector.is_none() {
            return;
        }
        let Some((seen, of_call)) = copy(at_us, sent, flow, bytes) else {
            return;
        };
        if let Some(collector) = &self.collector {
            collector.offer(seen.clone());
        }
        let Some(trace) = &self.trace else {
            return;
        };
        let mut trace = trace.lock();
        if trace.add(seen, of_call) == Kept::Skipped {
            Metrics::count(&self.metrics.trace.trace_skipped);
        }
        let (messages, bytes) = trace.size();
        Metrics::set(&self.metrics.trace.trace_messages, messages);
        Metrics::set(&self.metrics.trace.trace_bytes, bytes);
    }
}
