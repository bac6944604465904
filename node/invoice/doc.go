// Package invoice writes and reads BOLT 11 invoices. It wraps lnd's zpay32, which does the bech32 and the fields, and adds
// what BOLT 11 asks of a reader beyond that:
//
//	zpay32 alone                                             here
//	no payment_secret is fine                                refused
//	required features that lnd knows are fine                only those that this node's payments fulfil
//	feature dependencies are not looked at                   checked
//	high-S signature with an n field is fine                 refused
//	leading zeros in c, x, 9 are fine                        refused
//	no c field means 24 blocks                               18, as BOLT 11 says; the payer adds its own margin
//	an amount beyond 64 bits, or an expiry, wraps around     refused; expiry capped
//	another network's invoice gives "unknown multiplier"     names both networks
//	a blinded path that is cut short ends with zeros         refused
//
// Two deviations stay, both on the strict side: an invoice of more than 7089 characters is refused, and so is one whose
// fallback address is malformed.
//
// Invoices with blinded paths have the field b of bLIP 39 for each, and neither payment_secret nor route hints. They are written with up to
// 7 hops a path, which is zpay32's limit and about what a field can hold.
package invoice
