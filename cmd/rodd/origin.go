package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"lightningrod/node"
)

// origin says where the seed beside its file comes from, until the node's first start has put that into the database. A seed without a
// file, or with another's, may be anything: it is taken for a restored one of unknown age.
type origin struct {
	Seed     string `json:"seed_file_sha256"`
	New      bool   `json:"new"`
	Birthday uint32 `json:"birthday"` // of one that is not new: a height up to which nothing was paid to it
}

// birthdayMargin is taken off a birthday, which people remember roughly: a day of blocks.
const birthdayMargin = 144

func (k *seedKeeper) originPath() string { return filepath.Join(k.cfg.dir(), "seed.origin") }

// writeOrigin is called when the seed is written.
func (k *seedKeeper) writeOrigin(o origin) (err error) {
	if o.Seed, err = k.seedSum(); err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(k.originPath(), append(text, '\n'), 0o600)
}

func (k *seedKeeper) seedSum() (string, error) {
	file, err := os.ReadFile(k.path())
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:]), err
}

// origin is where the seed comes from, for a node without a database.
func (k *seedKeeper) origin() (node.SeedOrigin, uint32, error) {
	text, err := os.ReadFile(k.originPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	sum, err := k.seedSum()
	if err != nil {
		return 0, 0, err
	}
	var o origin
	switch err := json.Unmarshal(text, &o); {
	case err != nil || o.Seed != sum: // none, torn by a power cut, or another seed's
		return node.SeedRestored, 0, nil
	case o.New:
		return node.SeedNew, 0, nil
	}
	return node.SeedRestored, o.Birthday - min(o.Birthday, birthdayMargin), nil
}

// settled removes the file when it has done its work.
func (k *seedKeeper) settled() error {
	if err := os.Remove(k.originPath()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
