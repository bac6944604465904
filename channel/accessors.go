package channel

// Limits are what each side said when the channel was opened.
func (s *State) Limits() (local, remote Limits) { return s.local, s.remote }
