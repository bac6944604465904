package channeltest

import (
	"flag"
	"math/rand"
	"testing"
	"time"

	"lightningrod/channel"
)

var (
	seed      = flag.Int64("seed", 0, "seed of the random schedules; 0: by the clock")
	schedules = flag.Int("schedules", 1500, "how many random schedules")
)

// cloneOf gives a fresh pair like an open one: the States are values.
func cloneOf(p *Pair) *Pair {
	c := *p
	for i, s := range p.Sides {
		n := *s
		n.Rows = s.Rows.clone()
		n.Queue, n.Out, n.Chain = append([]Turn(nil), s.Queue...), nil, nil
		n.Notices = nil
		n.committed = map[uint64]bool{}
		for k := range s.committed {
			n.committed[k] = true
		}
		n.Out = append(n.Out, s.Out...)
		c.Sides[i] = &n
	}
	return &c
}

func TestRandomSchedules(t *testing.T) {
	s := *seed
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("seed %d", s)
	base := open(t, Options{Toy: true, Push: 400_000_000})
	rnd := rand.New(rand.NewSource(s))
	for i := 0; i < *schedules; i++ {
		b := make([]byte, 40+rnd.Intn(400))
		rnd.Read(b)
		p := cloneOf(base)
		p.Opt.Manual = i%2 == 1
		p.Opt.Wire = i%16 == 0
		if err := Schedule(p, b); err != nil {
			t.Fatalf("seed %d, schedule %d, manual %v: %v\n%x", s, i, p.Opt.Manual, err, b)
		}
	}
}

func FuzzPair(f *testing.F) {
	for s := int64(0); s < 20; s++ {
		b := make([]byte, 200)
		rand.New(rand.NewSource(s)).Read(b)
		f.Add(s%2 == 0, b)
	}
	base := open(f, Options{Toy: true, Push: 400_000_000})
	f.Fuzz(func(t *testing.T, manual bool, b []byte) {
		p := cloneOf(base)
		p.Opt.Manual = manual
		if err := Schedule(p, b); err != nil {
			t.Fatal(err)
		}
	})
}

var _ = channel.Proposed
