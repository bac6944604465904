// Package notify delivers webhooks: each entry of the outbox is one HTTPS POST, tried until somebody took it or it is not
// worth trying any more.
//
// The outbox itself is the caller's and durable: rows that are written with the turn that causes a notification. The
// caller gives a Deliverer the entries whose rows are on disk, and all rows again after a start; it deletes the row when
// Results.Done has named it. A delivery may thus happen twice (a crash between the answer and the deletion), never zero
// times without a Done that says so. The order of deliveries is not kept.
//
// A URL is a stranger's. It must be https; it must not lead to an address of this machine or its network, which is checked
// on the address connected to and not only on the name; redirects are not followed; of the answer only the status counts,
// and hardly more than it is read. Since URLs carry the token that makes them unguessable, errors name their host only.
//
// One goroutine schedules. Each attempt has its own, of which there are at most Config.MaxInFlight, and of those at most
// Config.MaxPerHost for one host, lest a slow receiver hold up the others.
package notify
