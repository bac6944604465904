//! LDK's log, on stderr. ldk-node tells why a payment has failed only there: the last failure that came back to us as a payer is kept.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};

use crate::Fallible;

/// A failure that a node has sent back (BOLT 4), as this payer has read it.
#[derive(Clone)]
pub struct Failure {
	/// The node's public key, hex.
	pub from: String,
	pub code: u16,
}

pub struct Log {
	least: LogLevel,
	failure: Mutex<Option<Failure>>,
}

impl Log {
	pub fn new(level: &str) -> Fallible<Log> {
		let least = match level {
			"trace" => LogLevel::Trace,
			"debug" => LogLevel::Debug,
			"info" => LogLevel::Info,
			"warn" => LogLevel::Warn,
			"error" => LogLevel::Error,
			_ => return Err(format!("{level:?} is no level: want trace, debug, info, warn or error").into()),
		};
		Ok(Log { least, failure: Mutex::new(None) })
	}

	/// Forgets the last failure: a payment begins.
	pub fn forget(&self) {
		*self.failure.lock().unwrap() = None;
	}

	/// The last failure, of whatever payment.
	pub fn failure(&self) -> Option<Failure> {
		self.failure.lock().unwrap().clone()
	}
}

impl LogWriter for Log {
	fn log(&self, record: LogRecord) {
		let text = record.args.to_string();
		if let Some(f) = failure(&text) {
			*self.failure.lock().unwrap() = Some(f);
		}
		if record.level >= self.least {
			let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
			let day = now.as_secs() % 86400;
			eprintln!(
				"{:02}:{:02}:{:02}.{:03} {:<5} {}:{} {text}",
				day / 3600,
				day / 60 % 60,
				day % 60,
				now.subsec_millis(),
				record.level.to_string(),
				record.module_path,
				record.line,
			);
		}
	}
}

/// Reads `Onion Error[from 02ab..: TemporaryChannelFailure(0x1007) ...]`, as lightning 0.2 writes it.
fn failure(text: &str) -> Option<Failure> {
	let (from, rest) = text.split_once("Onion Error[from ")?.1.split_once(": ")?;
	let (code, _) = rest.split_once("(0x")?.1.split_once(')')?;
	Some(Failure { from: from.to_string(), code: u16::from_str_radix(code, 16).ok()? })
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_failure_is_read() {
		let f = failure("Onion Error[from 02ab: TemporaryChannelFailure(0x1007) channel_update(00)]").unwrap();
		assert_eq!((f.from.as_str(), f.code), ("02ab", 0x1007));
		assert!(failure("Onion Error[from 02ab: Odd").is_none());
	}
}
