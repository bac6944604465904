package rod

// Dest is what the caller of Start gave as the way to the payee.
func (p *Payer) Dest(id uint64) (dest []byte, ok bool) {
	y := p.payments[id]
	if y == nil {
		return nil, false
	}
	return y.Start.Dest, true
}
