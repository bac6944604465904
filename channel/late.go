package channel

// Late is the channel as it has to go on from rows that may be older than what this node signed last: from a backup. The peer may know
// the secret of the commitment that these rows call the newest, so nothing of ours is published any more, and the peer is asked
// to close (PhaseWaiting). A channel that was closing already had signed its last commitment, and stays as it is.
//
// Nothing that the peer says makes up for the loss: a peer that wants us to publish an old commitment would say that it is the newest.
func (s *State) Late(reason string) *State {
	switch s.phase {
	case PhaseOpening, PhaseNormal, PhaseShutdown:
		t := &turn{State: s.clone()}
		t.wait(reason)
		return t.State
	}
	return s
}
