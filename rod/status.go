package rod

// tell sends a status once: a request's status never repeats and never goes back, and nothing follows one that is final.
func (n *turn) tell(r *request, s StatusState) {
	if s <= r.told || r.told >= StatusSettled {
		return
	}
	r.told = s
	n.touch(r)
	n.send(r, n.status(r, s))
}

func (n *turn) send(r *request, s Status) {
	if r.replyPath == nil {
		return
	}
	n.out.Replies = append(n.out.Replies, Reply{r.peer, r.replyPath, TypeStatus, s.Encode()})
}

func (t *Table) status(r *request, state StatusState) Status {
	s := Status{PidHash: r.pid, State: state, Height: t.height}
	for _, m := range r.members {
		s.HeldParts++
		s.HeldMsat += m.amount
		if c := claimHeight(m.expiry, t.cfg.ClaimMargin); s.ClaimHeight == 0 || c < s.ClaimHeight {
			s.ClaimHeight = c
		}
	}
	return s
}
