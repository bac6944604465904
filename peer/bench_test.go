package peer

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

func report(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s") }

// BenchmarkConn is the transport alone over loopback TCP: update_add_htlc messages, so many to one write.
func BenchmarkConn(b *testing.B) {
	var buf bytes.Buffer
	if _, err := lnwire.WriteMessage(&buf, &lnwire.UpdateAddHTLC{}, 0); err != nil {
		b.Fatal(err)
	}
	for _, perFlush := range []int{1, 64} {
		b.Run(fmt.Sprintf("flush=%d", perFlush), func(b *testing.B) {
			from, to := connPair(b)
			b.SetBytes(int64(buf.Len()))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for i := range b.N {
					if from.Append(buf.Bytes()) != nil || (i+1)%perFlush == 0 && from.Flush() != nil {
						return
					}
				}
				_ = from.Flush()
			}()
			for range b.N {
				if _, err := to.Read(); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
	}
}

// counter tells when so many messages have come.
type counter struct {
	recorder
	left int
	done chan struct{}
}

func (c *counter) Message(*Peer, Message) {
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// BenchmarkHosts is all of it between two hosts: encode, buffer, encrypt, TCP, decrypt, decode.
func BenchmarkHosts(b *testing.B) {
	for _, perSend := range []int{1, 64} {
		b.Run(fmt.Sprintf("send=%d", perSend), func(b *testing.B) {
			c := &counter{recorder: *newRecorder(), left: b.N, done: make(chan struct{})}
			from := newHost(b, 1)
			to := newHost(b, 2, func(cfg *Config) { cfg.Events = c })
			p := from.connect(b, to)
			msgs := make([]lnwire.Message, perSend)
			for i := range msgs {
				msgs[i] = &lnwire.UpdateAddHTLC{Amount: lnwire.MilliSatoshi(i)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := b.N; n > 0; n -= perSend {
				for p.out.waiting() > p.cfg.MaxQueued/2 {
					<-p.out.room
				}
				if err := p.Send(msgs[:min(n, perSend)]...); err != nil {
					b.Fatal(err)
				}
			}
			<-c.done
			report(b)
		})
	}
}

// BenchmarkConnect is the making of a connection: dial, handshake, init, both ends.
func BenchmarkConnect(b *testing.B) {
	from, to := newHost(b, 1), newHost(b, 2)
	for b.Loop() {
		p := from.connect(b, to)
		p.Close()
		<-p.Done()
		from.next(b, "connected")
		from.next(b, "disconnected")
	}
}
