package channel

import (
	"fmt"
	"strings"
	"testing"
)

// TestLadder prints the ladder as BOLT 2 "Normal Operation" has it, and compares.
func TestLadder(t *testing.T) {
	names := [...]string{sendCommit: "we send commitment_signed", receiveRevoke: "we receive revoke_and_ack", receiveCommit: "we receive commitment_signed", sendRevoke: "we send revoke_and_ack"}
	var b strings.Builder
	for st, l := range ladder {
		fmt.Fprintf(&b, "%-28s ours %d -> %d  theirs %d -> %d\n", names[st], l.ours, l.ours+1, l.theirs, l.theirs+1)
	}
	want := `we send commitment_signed    ours 1 -> 2  theirs 3 -> 4
we receive revoke_and_ack    ours 2 -> 3  theirs 4 -> 5
we receive commitment_signed ours 3 -> 4  theirs 1 -> 2
we send revoke_and_ack       ours 4 -> 5  theirs 2 -> 3
`
	if got := b.String(); got != want {
		t.Errorf("the ladder is\n%s", got)
	}
}

// TestLadderMirrors: what one side does to its own update, the other side's mirror step does to the same.
func TestLadderMirrors(t *testing.T) {
	mirror := map[step]step{sendCommit: receiveCommit, receiveCommit: sendCommit, receiveRevoke: sendRevoke, sendRevoke: receiveRevoke}
	for st, m := range mirror {
		if ladder[st].ours != ladder[m].theirs || ladder[st].theirs != ladder[m].ours {
			t.Errorf("step %d and its mirror %d differ", st, m)
		}
	}
	// Signing for the next commitment makes it the newest; so does receiving.
	if viewRemoteNext.ours != ladder[sendCommit].ours || viewRemoteNext.theirs != ladder[sendCommit].theirs {
		t.Error("viewRemoteNext is not what commitment_signed covers")
	}
	if viewLocalNext.ours != ladder[receiveCommit].ours || viewLocalNext.theirs != ladder[receiveCommit].theirs {
		t.Error("viewLocalNext is not what commitment_signed covers")
	}
}
