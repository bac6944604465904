//! What the program can be asked. A request is an object with "do" and its arguments; amounts are in the unit that the name says.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::str::FromStr;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use ldk_node::bitcoin::OutPoint;
use ldk_node::bitcoin::hashes::{Hash, sha256};
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::events::PaymentFailureReason;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{ChannelDetails, Event, LightningBalance, Node};
use serde_json::{Map, Value, json};

use crate::Fallible;
use crate::log::Log;

/// How long a payment or a funding transaction may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An invoice is valid for so many seconds.
const EXPIRY: u32 = 3600;

/// How a payment has ended.
#[derive(Clone)]
enum Outcome {
	Paid { fee_msat: u64 },
	Failed(Option<PaymentFailureReason>),
}

/// What events have told.
#[derive(Default)]
struct Heard {
	payments: HashMap<PaymentId, Outcome>,
	/// By user_channel_id: the funding output of a channel that is funded, or why there is none.
	openings: HashMap<u128, Result<OutPoint, String>>,
}

/// Invoices that are claimed by hand. They do not outlive the process.
#[derive(Default)]
struct ByHand {
	preimages: HashMap<PaymentHash, PaymentPreimage>,
	withdrawn: HashSet<PaymentHash>,
}

pub struct Desk {
	node: Node,
	log: std::sync::Arc<Log>,
	heard: Mutex<Heard>,
	news: Condvar,
	by_hand: Option<Mutex<ByHand>>,
}

impl Desk {
	pub fn new(node: Node, log: std::sync::Arc<Log>, claim_by_hand: bool) -> Desk {
		let by_hand = claim_by_hand.then(Mutex::default);
		Desk { node, log, heard: Mutex::default(), news: Condvar::new(), by_hand }
	}

	pub fn stop(&self) -> Fallible<()> {
		Ok(self.node.stop()?)
	}

	/// Takes the node's events as they come, for ever.
	pub fn events(&self) {
		loop {
			let event = self.node.wait_next_event();
			let result = match event {
				Event::PaymentClaimable { payment_hash, claimable_amount_msat, .. } => self.claim(payment_hash, claimable_amount_msat),
				_ => {
					self.hear(event);
					Ok(())
				},
			};
			if let Err(e) = result.and_then(|()| Ok(self.node.event_handled()?)) {
				eprintln!("event: {e}");
				std::process::exit(1);
			}
		}
	}

	fn hear(&self, event: Event) {
		let mut heard = self.heard.lock().unwrap();
		match event {
			Event::PaymentSuccessful { payment_id: Some(id), fee_paid_msat, .. } => {
				heard.payments.insert(id, Outcome::Paid { fee_msat: fee_paid_msat.unwrap_or(0) });
			},
			Event::PaymentFailed { payment_id: Some(id), reason, .. } => {
				heard.payments.insert(id, Outcome::Failed(reason));
			},
			Event::ChannelPending { user_channel_id, funding_txo, .. } => {
				heard.openings.insert(user_channel_id.0, Ok(funding_txo));
			},
			Event::ChannelClosed { user_channel_id, reason, .. } => {
				let why = reason.map_or("closed".to_string(), |r| r.to_string());
				heard.openings.entry(user_channel_id.0).or_insert(Err(why));
			},
			_ => return,
		}
		self.news.notify_all();
	}

	/// Waits until events have told what is looked for.
	fn wait<T>(&self, what: &str, look: impl Fn(&Heard) -> Option<T>) -> Fallible<T> {
		let end = Instant::now() + PATIENCE;
		let mut heard = self.heard.lock().unwrap();
		loop {
			if let Some(found) = look(&heard) {
				return Ok(found);
			}
			let left = end.saturating_duration_since(Instant::now());
			if left.is_zero() {
				return Err(format!("{what} has no outcome after {} s", PATIENCE.as_secs()).into());
			}
			heard = self.news.wait_timeout(heard, left).unwrap().0;
		}
	}

	pub fn ask(&self, r: &Value) -> Fallible<Value> {
		match text(r, "do")? {
			"info" => self.info(),
			"height" => self.height(),
			"address" => Ok(json!({"address": self.node.onchain_payment().new_address()?.to_string()})),
			"coins" => self.coins(),
			"connect" => self.connect(r),
			"disconnect" => Ok(json!(self.node.disconnect(key(r, "peer")?)?)),
			"peers" => self.peers(),
			"open" => self.open(r),
			"close" => self.close(r),
			"channels" => self.channels(),
			"invoice" => self.invoice(r),
			"withdraw" => self.withdraw(r),
			"pay" => self.pay(r),
			"offer" => self.offer(r),
			"pay_offer" => self.pay_offer(r),
			"keysend" => self.keysend(r),
			"payments" => self.payments(),
			"graph" => self.graph(),
			other => Err(format!("{other}: no such request").into()),
		}
	}

	fn info(&self) -> Fallible<Value> {
		Ok(json!({"id": self.node.node_id().to_string(), "height": self.node.status().current_best_block.height}))
	}

	/// Asks bitcoind for blocks first, and does not wait for the next poll.
	fn height(&self) -> Fallible<Value> {
		self.node.sync_wallets()?;
		self.info()
	}

	/// Coins of the wallet, in satoshi, those in unconfirmed transactions too: nothing else tells more.
	fn coins(&self) -> Fallible<Value> {
		self.node.sync_wallets()?;
		let b = self.node.list_balances();
		let sweeping: Vec<String> = b.pending_balances_from_channel_closures.iter().map(|p| format!("{p:?}")).collect();
		Ok(json!({"total_sat": b.total_onchain_balance_sats, "spendable_sat": b.spendable_onchain_balance_sats, "sweeping": sweeping}))
	}

	fn connect(&self, r: &Value) -> Fallible<Value> {
		let addr = text(r, "addr")?;
		crate::loopback(addr)?;
		self.node.connect(key(r, "peer")?, SocketAddress::from_str(addr).map_err(|e| format!("{addr}: {e}"))?, true)?;
		Ok(json!({}))
	}

	fn peers(&self) -> Fallible<Value> {
		let ids: Vec<String> = self.node.list_peers().iter().filter(|p| p.is_connected).map(|p| p.node_id.to_string()).collect();
		Ok(json!({"ids": ids}))
	}

	/// Opens a channel to a connected peer, and waits until it is funded.
	fn open(&self, r: &Value) -> Fallible<Value> {
		let peer = key(r, "peer")?;
		let known = self.node.list_peers().into_iter().find(|p| p.node_id == peer && p.is_connected).ok_or("not connected")?;
		let (capacity, push) = (number(r, "capacity_sat")?, Some(number(r, "push_sat")? * 1000));
		let id = match r["private"] == true {
			true => self.node.open_channel(peer, known.address, capacity, push, None)?,
			false => self.node.open_announced_channel(peer, known.address, capacity, push, None)?,
		};
		let funding = self.wait("the opening", |h| h.openings.get(&id.0).cloned())??;
		Ok(json!({"txid": funding.txid.to_string(), "output": funding.vout}))
	}

	fn close(&self, r: &Value) -> Fallible<Value> {
		let funding = text(r, "funding")?;
		let all = self.node.list_channels();
		let c = all.iter().find(|c| point(c) == funding).ok_or_else(|| format!("no channel {funding}"))?;
		match r["force"] == true {
			true => self.node.force_close_channel(&c.user_channel_id, c.counterparty_node_id, None)?,
			false => self.node.close_channel(&c.user_channel_id, c.counterparty_node_id)?,
		}
		Ok(json!({}))
	}

	fn channels(&self) -> Fallible<Value> {
		let mut htlcs: HashMap<String, u64> = HashMap::new();
		for b in self.node.list_balances().lightning_balances {
			let (channel, n) = in_flight(&b);
			*htlcs.entry(channel).or_default() += n;
		}
		let all: Vec<Value> = self
			.node
			.list_channels()
			.iter()
			.map(|c| {
				json!({
					"peer": c.counterparty_node_id.to_string(),
					"funding": point(c),
					"scid": c.short_channel_id,
					"opener": c.is_outbound,
					"private": !c.is_announced,
					// Without the peer's channel_update nobody can be given a hint to a private channel.
					"usable": c.is_usable && c.counterparty_forwarding_info_fee_base_msat.is_some(),
					"capacity_sat": c.channel_value_sats,
					"feerate_sat_per_kw": c.feerate_sat_per_1000_weight,
					"htlcs": htlcs.get(&c.channel_id.to_string()).copied().unwrap_or(0),
					"local_msat": local_msat(c),
				})
			})
			.collect();
		Ok(json!({"channels": all}))
	}

	fn invoice(&self, r: &Value) -> Fallible<Value> {
		let msat = number(r, "msat")?;
		let about = Bolt11InvoiceDescription::Direct(Description::new("regtest".to_string()).map_err(|e| format!("{e:?}"))?);
		let bolt11 = self.node.bolt11_payment();
		let invoice = match &self.by_hand {
			None => bolt11.receive(msat, &about, EXPIRY)?,
			Some(by_hand) => {
				let preimage = PaymentPreimage(random()?);
				let hash = PaymentHash(sha256::Hash::hash(&preimage.0).to_byte_array());
				by_hand.lock().unwrap().preimages.insert(hash, preimage);
				bolt11.receive_for_hash(msat, &about, EXPIRY, hash)?
			},
		};
		Ok(json!({"text": invoice.to_string(), "hash": invoice.payment_hash().to_string()}))
	}

	fn withdraw(&self, r: &Value) -> Fallible<Value> {
		let by_hand = self.by_hand.as_ref().ok_or("LDK cannot withdraw an invoice that it claims itself: start with --claim-by-hand")?;
		let hash = sha256::Hash::from_str(text(r, "hash")?)?;
		by_hand.lock().unwrap().withdrawn.insert(PaymentHash(hash.to_byte_array()));
		Ok(json!({}))
	}

	/// Takes a payment for an invoice that is claimed by hand, or sends it back.
	fn claim(&self, hash: PaymentHash, msat: u64) -> Fallible<()> {
		let by_hand = self.by_hand.as_ref().ok_or("a payment to claim by hand")?.lock().unwrap();
		match by_hand.preimages.get(&hash) {
			Some(preimage) if !by_hand.withdrawn.contains(&hash) => self.node.bolt11_payment().claim_for_hash(hash, msat, *preimage)?,
			_ => self.node.bolt11_payment().fail_for_hash(hash)?,
		}
		Ok(())
	}

	fn pay(&self, r: &Value) -> Fallible<Value> {
		let invoice = Bolt11Invoice::from_str(text(r, "invoice")?).map_err(|e| e.to_string())?;
		let parts = RouteParametersConfig { max_path_count: u8::try_from(number(r, "parts")?)?, ..Default::default() };
		self.log.forget();
		let id = self.node.bolt11_payment().send(&invoice, Some(parts))?;
		self.outcome(id)
	}

	fn offer(&self, r: &Value) -> Fallible<Value> {
		let offer = self.node.bolt12_payment().receive(number(r, "msat")?, "regtest", Some(EXPIRY), None)?;
		let introductions: Vec<String> = offer.paths().iter().map(|p| format!("{:?}", p.introduction_node())).collect();
		Ok(json!({"text": offer.to_string(), "introductions": introductions}))
	}

	fn pay_offer(&self, r: &Value) -> Fallible<Value> {
		let offer = Offer::from_str(text(r, "offer")?).map_err(|e| format!("{e:?}"))?;
		self.log.forget();
		let id = self.node.bolt12_payment().send(&offer, None, None, None)?;
		self.outcome(id)
	}

	/// Pays payee and amount of an invoice spontaneously: with another hash.
	fn keysend(&self, r: &Value) -> Fallible<Value> {
		let invoice = Bolt11Invoice::from_str(text(r, "invoice")?).map_err(|e| e.to_string())?;
		let msat = invoice.amount_milli_satoshis().ok_or("an invoice without amount")?;
		self.log.forget();
		let id = self.node.spontaneous_payment().send(msat, invoice.recover_payee_pub_key(), None)?;
		self.outcome(id)
	}

	fn outcome(&self, id: PaymentId) -> Fallible<Value> {
		Ok(match self.wait("the payment", |h| h.payments.get(&id).cloned())? {
			Outcome::Paid { fee_msat } => json!({"paid": true, "fee_msat": fee_msat}),
			Outcome::Failed(reason) => {
				let (from, code) = self.log.failure().map_or((String::new(), 0), |f| (f.from, f.code));
				json!({"paid": false, "reason": format!("{reason:?}"), "from": from, "code": code})
			},
		})
	}

	fn payments(&self) -> Fallible<Value> {
		let (mut paid, mut received, mut pending) = (Map::new(), Map::new(), Vec::new());
		let heard = self.heard.lock().unwrap();
		for p in self.node.list_payments() {
			let hash = match p.kind {
				PaymentKind::Bolt11 { hash, .. } | PaymentKind::Bolt11Jit { hash, .. } | PaymentKind::Spontaneous { hash, .. } => hash,
				PaymentKind::Bolt12Offer { hash: Some(hash), .. } | PaymentKind::Bolt12Refund { hash: Some(hash), .. } => hash,
				PaymentKind::Bolt12Offer { hash: None, .. } | PaymentKind::Bolt12Refund { hash: None, .. } | PaymentKind::Onchain { .. } => continue,
			};
			match (p.direction, p.status) {
				(PaymentDirection::Outbound, PaymentStatus::Succeeded) => {
					paid.insert(hash.to_string(), json!(p.amount_msat));
				},
				(PaymentDirection::Inbound, PaymentStatus::Succeeded) => {
					received.insert(hash.to_string(), json!(p.amount_msat));
				},
				// ldk-node may note that a payment is pending after it has noted that it failed: what was heard counts.
				(PaymentDirection::Outbound, PaymentStatus::Pending) if !heard.payments.contains_key(&p.id) => pending.push(hash.to_string()),
				_ => {},
			}
		}
		Ok(json!({"paid": paid, "received": received, "pending": pending}))
	}

	fn graph(&self) -> Fallible<Value> {
		let graph = self.node.network_graph();
		let channels: Vec<_> = graph.list_channels().into_iter().filter_map(|id| graph.channel(id)).collect();
		let updates = channels.iter().map(|c| c.one_to_two.is_some() as u64 + c.two_to_one.is_some() as u64).sum::<u64>();
		let mut aliases = Map::new();
		for id in graph.list_nodes() {
			if let Some(info) = graph.node(&id).and_then(|n| n.announcement_info) {
				aliases.insert(id.to_string(), json!(info.alias().to_string()));
			}
		}
		Ok(json!({"channels": channels.len(), "updates": updates, "aliases": aliases}))
	}
}

/// The channel that a balance is of, and how many HTLCs in flight it stands for: those that have no output count as one together.
fn in_flight(b: &LightningBalance) -> (String, u64) {
	use LightningBalance::*;
	match b {
		ClaimableOnChannelClose {
			channel_id,
			outbound_payment_htlc_rounded_msat,
			outbound_forwarded_htlc_rounded_msat,
			inbound_claiming_htlc_rounded_msat,
			inbound_htlc_rounded_msat,
			..
		} => {
			let rounded = outbound_payment_htlc_rounded_msat
				+ outbound_forwarded_htlc_rounded_msat
				+ inbound_claiming_htlc_rounded_msat
				+ inbound_htlc_rounded_msat;
			(channel_id.to_string(), (rounded > 0) as u64)
		},
		MaybeTimeoutClaimableHTLC { channel_id, .. } | MaybePreimageClaimableHTLC { channel_id, .. } | ContentiousClaimable { channel_id, .. } => {
			(channel_id.to_string(), 1)
		},
		ClaimableAwaitingConfirmations { channel_id, .. } | CounterpartyRevokedOutputClaimable { channel_id, .. } => (channel_id.to_string(), 0),
	}
}

/// What is ours in a channel, without HTLCs in flight; fees and anchors of a channel that we opened are ours. ldk-node tells only what
/// can be spent, and that is what is above the reserve: of at least one end.
fn local_msat(c: &ChannelDetails) -> u64 {
	const ANCHORS_MSAT: u64 = 2 * 330 * 1000;
	let of_opener = |opener: bool| if opener { ANCHORS_MSAT } else { 0 };
	if c.outbound_capacity_msat > 0 {
		return c.outbound_capacity_msat + 1000 * c.unspendable_punishment_reserve.unwrap_or(0) + of_opener(c.is_outbound);
	}
	let remote = c.inbound_capacity_msat + 1000 * c.counterparty_unspendable_punishment_reserve + of_opener(!c.is_outbound);
	(1000 * c.channel_value_sats).saturating_sub(remote)
}

/// The funding output as txid:output, if there is one.
fn point(c: &ChannelDetails) -> String {
	c.funding_txo.map_or(String::new(), |p| p.to_string())
}

fn random() -> Fallible<[u8; 32]> {
	let mut b = [0; 32];
	File::open("/dev/urandom")?.read_exact(&mut b)?;
	Ok(b)
}

fn text<'a>(r: &'a Value, name: &str) -> Fallible<&'a str> {
	r[name].as_str().ok_or_else(|| format!("{name}: want text").into())
}

fn number(r: &Value, name: &str) -> Fallible<u64> {
	r[name].as_u64().ok_or_else(|| format!("{name}: want a number").into())
}

fn key(r: &Value, name: &str) -> Fallible<PublicKey> {
	Ok(PublicKey::from_str(text(r, name)?)?)
}
