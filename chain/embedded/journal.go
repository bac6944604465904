package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// journal holds what was done to the chain since it was opened. btcd's database keeps its newest metadata in memory for minutes, and after a
// crash falls back to what it wrote last; the journal brings it forward again. It is emptied when the database is closed.
//
// A record is its kind (1 byte), the length of its body (4 bytes, big-endian), the body, and the CRC-32 of all that. A torn
// record at the end is cut off.
type journal struct{ f *os.File }

const (
	recordBlock   = 1 // body: a block
	recordInvalid = 2 // body: the hash of a block declared invalid
)

// openJournal hands every whole record to replay, and is then ready for more.
func openJournal(path string, replay func(kind byte, body []byte) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err == nil {
		rest := data
		for err == nil {
			kind, body, after, whole := record(rest)
			if !whole {
				break
			}
			err = replay(kind, body)
			rest = after
		}
		end := int64(len(data) - len(rest))
		if err == nil {
			err = f.Truncate(end)
		}
		if err == nil {
			_, err = f.Seek(end, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("replay journal: %w", err)
	}
	return &journal{f}, nil
}

// record takes the first record off data.
func record(data []byte) (kind byte, body, rest []byte, whole bool) {
	const head, sum = 5, 4
	if len(data) < head+sum {
		return 0, nil, data, false
	}
	n := uint64(binary.BigEndian.Uint32(data[1:]))
	if n > uint64(len(data)-head-sum) {
		return 0, nil, data, false
	}
	end := head + int(n)
	if binary.BigEndian.Uint32(data[end:]) != crc32.ChecksumIEEE(data[:end]) {
		return 0, nil, data, false
	}
	return data[0], data[head:end], data[end+sum:], true
}

func (j *journal) append(kind byte, body []byte) error {
	rec := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	rec = append(rec, body...)
	rec = binary.BigEndian.AppendUint32(rec, crc32.ChecksumIEEE(rec))
	if _, err := j.f.Write(rec); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (j *journal) mined(b *btcutil.Block) error {
	raw, err := b.Bytes()
	if err != nil {
		return err
	}
	return j.append(recordBlock, raw)
}

func (j *journal) invalidated(hash chainhash.Hash) error { return j.append(recordInvalid, hash[:]) }

func (j *journal) close(empty bool) error {
	var err error
	if empty {
		err = j.f.Truncate(0)
	}
	return errors.Join(err, j.f.Close())
}

// replay does what a record says, if the database does not have it.
func (c *Chain) replay(kind byte, body []byte) error {
	switch kind {
	case recordBlock:
		var msg wire.MsgBlock
		if err := msg.Deserialize(bytes.NewReader(body)); err != nil {
			return err
		}
		c.clock.saw(msg.Header.Timestamp)
		b := btcutil.NewBlock(&msg)
		if have, err := c.chain.HaveBlock(b.Hash()); have || err != nil {
			return err
		}
		_, _, err := c.chain.ProcessBlock(b, blockchain.BFNone)
		return err
	case recordInvalid:
		hash, err := chainhash.NewHash(body)
		if err != nil {
			return err
		}
		return c.chain.InvalidateBlock(hash)
	default:
		return fmt.Errorf("unknown record kind %d", kind)
	}
}
