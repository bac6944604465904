//! An LDK node for tests on regtest. It obeys lines of JSON on stdin, and answers each with a line of JSON on stdout:
//!
//! ```text
//! {"id":1,"do":"invoice","msat":1000}
//! {"id":1,"ok":{"text":"lnbcrt10n1...","hash":"..."}}
//! {"id":2,"error":"..."}
//! ```
//!
//! Requests run side by side, so answers come in any order. What there is to ask is in `ask.rs`. The log goes to stderr. The program
//! ends when stdin does. It speaks to nobody but a bitcoind and peers on loopback.

mod ask;
mod log;

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use ldk_node::Builder;
use ldk_node::bitcoin::Network;
use ldk_node::config::{AnchorChannelsConfig, Config};
use serde_json::{Value, json};

use crate::ask::Desk;
use crate::log::Log;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the command line says.
struct Options {
	dir: String,
	listen: SocketAddr,
	alias: String,
	rpc: SocketAddr,
	cookie: String,
	/// Least important level of the log.
	log: String,
	/// Invoices are claimed by this program and not by LDK, so that they can be withdrawn.
	claim_by_hand: bool,
}

const USAGE: &str = "rod-regtest-ldk --dir=FOLDER --listen=IP:PORT --alias=NAME --rpc=IP:PORT --cookie=FILE [--log=LEVEL] [--claim-by-hand]";

impl Options {
	fn read(args: impl Iterator<Item = String>) -> Fallible<Options> {
		let (mut dir, mut listen, mut alias, mut rpc, mut cookie) = (None, None, None, None, None);
		let (mut log, mut claim_by_hand) = ("info".to_string(), false);
		for arg in args {
			match arg.split_once('=') {
				Some(("--dir", v)) => dir = Some(v.to_string()),
				Some(("--listen", v)) => listen = Some(loopback(v)?),
				Some(("--alias", v)) => alias = Some(v.to_string()),
				Some(("--rpc", v)) => rpc = Some(loopback(v)?),
				Some(("--cookie", v)) => cookie = Some(v.to_string()),
				Some(("--log", v)) => log = v.to_string(),
				None if arg == "--claim-by-hand" => claim_by_hand = true,
				_ => return Err(format!("{arg}: want {USAGE}").into()),
			}
		}
		match (dir, listen, alias, rpc, cookie) {
			(Some(dir), Some(listen), Some(alias), Some(rpc), Some(cookie)) => {
				Ok(Options { dir, listen, alias, rpc, cookie, log, claim_by_hand })
			},
			_ => Err(format!("something is missing: want {USAGE}").into()),
		}
	}
}

/// An address of this machine: there is no other network for this program.
fn loopback(text: &str) -> Fallible<SocketAddr> {
	let addr: SocketAddr = text.parse().map_err(|e| format!("{text}: {e}"))?;
	if !addr.ip().is_loopback() {
		return Err(format!("{text} is not on loopback").into());
	}
	Ok(addr)
}

fn main() {
	if let Err(e) = run() {
		eprintln!("rod-regtest-ldk: {e}");
		std::process::exit(1);
	}
}

fn run() -> Fallible<()> {
	let options = Options::read(std::env::args().skip(1))?;
	let log = Arc::new(Log::new(&options.log)?);
	let desk = Arc::new(Desk::new(start(&options, log.clone())?, log, options.claim_by_hand));
	{
		let desk = desk.clone();
		thread::spawn(move || desk.events());
	}
	for line in io::stdin().lock().lines() {
		let request: Value = serde_json::from_str(&line?)?;
		if request["do"] == "stop" {
			desk.stop()?;
			answer(&request, Ok(json!({})));
			break;
		}
		let desk = desk.clone();
		thread::spawn(move || answer(&request, desk.ask(&request)));
	}
	Ok(())
}

/// Starts the node, with LDK's own settings but for one: it keeps no coins back for the fees of closing, so that a node without coins
/// accepts a channel.
fn start(options: &Options, log: Arc<Log>) -> Fallible<ldk_node::Node> {
	let cookie = fs::read_to_string(&options.cookie).map_err(|e| format!("{}: {e}", options.cookie))?;
	let (user, password) = cookie.trim().split_once(':').ok_or("a cookie without a colon")?;
	let config = Config {
		network: Network::Regtest,
		storage_dir_path: options.dir.clone(),
		anchor_channels_config: Some(AnchorChannelsConfig { per_channel_reserve_sats: 0, ..Default::default() }),
		..Default::default()
	};
	let mut builder = Builder::from_config(config);
	builder.set_custom_logger(log);
	builder.set_node_alias(options.alias.clone())?;
	builder.set_listening_addresses(vec![options.listen.into()])?;
	builder.set_chain_source_bitcoind_rpc(options.rpc.ip().to_string(), options.rpc.port(), user.into(), password.into());
	let node = builder.build()?;
	node.start()?;
	Ok(node)
}

/// Writes the answer as one line, at once.
fn answer(request: &Value, result: Fallible<Value>) {
	let text = match result {
		Ok(v) => json!({"id": request["id"], "ok": v}),
		Err(e) => json!({"id": request["id"], "error": e.to_string()}),
	};
	let mut out = io::stdout().lock();
	let _ = writeln!(out, "{text}").and_then(|()| out.flush()); // if nobody reads any more, stdin ends too
}
