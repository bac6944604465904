package nodetest

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Run does one schedule. A nil error means that no invariant was broken.
func (u *Universe) Run(schedule []byte, bug Bug) error {
	_, err := u.run(schedule, bug, false)
	return err
}

// Explain runs a schedule and tells what happened.
func (u *Universe) Explain(schedule []byte, bug Bug) (string, error) {
	return u.run(schedule, bug, true)
}

func (u *Universe) run(schedule []byte, bug Bug, tell bool) (text string, err error) {
	if len(schedule) == 0 {
		return "", nil
	}
	u.Stats.Seeds++
	w := u.begin(configOf(schedule), bug, &u.Stats)
	if tell {
		w.log = &strings.Builder{}
		defer func() { text = w.log.String() }()
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case Failure:
			err = r
		default:
			err = Failure{fmt.Sprintf("panic: %v\n%s", r, debug.Stack())}
		}
	}()
	w.trace("topology %s, %+v", topologies[w.cfg.topology].nodes, w.cfg)
	for _, n := range w.nodes {
		n.restart()
	}
	w.started()
	if n, _ := w.adversary(0); n != nil && w.cfg.holds {
		n.bad, n.holds = true, true
	}
	for _, l := range w.links {
		w.connect(l)
	}
	w.flow(all)
	for _, b := range schedule[min(configSize, len(schedule)):] {
		w.act(b)
		w.look()
		u.Stats.Steps++
	}
	w.finish()
	return "", nil
}
