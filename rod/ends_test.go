package rod

// start is a plain payment of these tests.
func start() Start {
	m, err := SignHold(key("A"), node("lsp"), ask())
	if err != nil {
		panic(err)
	}
	return Start{ID: 9, Pid: pid("1"), PathID: hash("path"), ReadyPathID: hash("ready path"), LSP: node("lsp"), Self: node("A"),
		Hold: m.Encode(), Cancel: cancelled("A", m.PidHash).Payload, Hashes: m.Hashes, AmountMsat: 900, TotalMsat: 1000, Deadline: 400,
		Mode: UnblockByPayer, Dest: []byte("payee"), Patience: 30}
}
