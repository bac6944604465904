package onion

import (
	"fmt"
	"sync"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

func BenchmarkPeel(b *testing.B) {
	packets, _ := unwrapped(b, testRoute(3))
	k := NewRouter(testKey(0))
	b.ReportAllocs()
	for b.Loop() {
		if _, failure := k.Peel(&packets[0], testHash, nil); failure != nil {
			b.Fatal(failure)
		}
	}
}

func BenchmarkPeelBlinded(b *testing.B) {
	relay := testRelay()
	path := must[BlindedPath](b)(NewBlindedPath(session(1), []PathNode{{testNode(0), relay}, {testNode(1), EncryptedData{}}}))
	packet, _, err := Build(testSession, []PayHop{
		{Node: path.Hops[0].Node, EncryptedData: path.Hops[0].Data},
		{Node: path.Hops[1].Node, EncryptedData: path.Hops[1].Data},
	}, testHash)
	if err != nil {
		b.Fatal(err)
	}
	k := NewRouter(testKey(0))
	b.ReportAllocs()
	for b.Loop() {
		if _, failure := k.Peel(&packet, testHash, path.PathKey[:]); failure != nil {
			b.Fatal(failure)
		}
	}
}

func BenchmarkPeelMessage(b *testing.B) {
	path := must[BlindedPath](b)(PathTo(session(1), nodes(0, 1, 2), EncryptedData{}))
	for _, n := range []int{32, 4096} {
		m := must[*lnwire.OnionMessage](b)(
			BuildMessage(session(2), path, MessagePayload{Contents: []Record{{65, make([]byte, n)}}}))
		k := NewRouter(testKey(0))
		b.Run(fmt.Sprintf("%d bytes", len(m.OnionBlob)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.PeelMessage(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{2, 3, 5} {
		hops := testRoute(n)
		b.Run(fmt.Sprintf("%d hops", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Build(testSession, hops, testHash); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuildMessage(b *testing.B) {
	path := must[BlindedPath](b)(PathTo(session(1), nodes(0, 1, 2), EncryptedData{}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := BuildMessage(session(2), path, MessagePayload{Contents: []Record{recOdd}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFail(b *testing.B) {
	packets, _ := unwrapped(b, testRoute(3))
	k := NewRouter(testKey(0))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Fail(&packets[0], testHash, nil, &lnwire.FailTemporaryNodeFailure{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFailure(b *testing.B) {
	packets, secrets := unwrapped(b, testRoute(3))
	reason := sendBack(b, packets, 2, &lnwire.FailTemporaryNodeFailure{})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := secrets.Decode(reason); err != nil {
			b.Fatal(err)
		}
	}
}

// One Router serves many goroutines; with -race this says that it keeps nothing.
func TestRouterIsShared(t *testing.T) {
	packets, _ := unwrapped(t, testRoute(2))
	m := messageOf(t, true, EncryptedData{}, Record{Type: messageEncryptedData})
	k := NewRouter(testKey(0))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 3 {
				if _, failure := k.Peel(&packets[0], testHash, nil); failure != nil {
					t.Error(failure)
				}
				if _, err := k.PeelMessage(m); err != nil {
					t.Error(err)
				}
				if _, err := k.Fail(&packets[0], testHash, nil, &lnwire.FailMPPTimeout{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}
