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
	schedules = flag.Int("schedules", 500, "how many random schedules")
)

func TestRandomSchedules(t *testing.T) {
	s := *seed
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("seed %d", s)
	bases := []*Pair{open(t, Options{Toy: true, Push: 400_000_000}), open(t, Options{Toy: true, Push: 400_000_000, Params: unequal})}
	rnd := rand.New(rand.NewSource(s))
	for i := 0; i < *schedules; i++ {
		b := make([]byte, 40+rnd.Intn(400))
		rnd.Read(b)
		p := bases[i/2%2].Clone()
		p.Opt.Manual = i%2 == 1
		p.Opt.Wire = i%16 == 0
		if err := Schedule(p, b); err != nil {
			t.Fatalf("seed %d, schedule %d, manual %v: %v\n%x", s, i, p.Opt.Manual, err, b)
		}
	}
}

// unequal gives the two sides limits of their own.
func unequal(side int, p *channel.Params) {
	p.Limits = channel.Limits{DustLimit: 354, Reserve: 12_345, HTLCMinimum: 1, ToSelfDelay: 100, MaxAcceptedHTLCs: 5, MaxInFlight: 300_000_000}
	if side == 1 {
		p.Limits = channel.Limits{DustLimit: 1001, Reserve: 6789, HTLCMinimum: 1, ToSelfDelay: 300, MaxAcceptedHTLCs: 3, MaxInFlight: 200_000_000}
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
		p := base.Clone()
		p.Opt.Manual = manual
		if err := Schedule(p, b); err != nil {
			t.Fatal(err)
		}
	})
}
