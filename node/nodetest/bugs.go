package nodetest

import (
	"runtime/debug"

	"lightningrod/channel"
	"lightningrod/node/forward"
)

// Bug is a mistake put back on purpose, to see whether the simulator finds it.
type Bug uint8

const (
	NoBug Bug = iota
	BugReleaseBeforeDurable
	BugClearForgotten
	BugEarlyUnblockLost
)

func (b Bug) wronglyHeard(n *node, in *inbox, batch []posted) []forward.Event { return nil }
func (b Bug) apart() bool                                                     { return false }
func (n *node) carryOutApart(t *turn, outs []forward.Output)                  {}
func (b Bug) rows(rows []forward.Row) []forward.Row                           { return rows }
func (b Bug) survey(n *node, d *forward.Durable)                              {}
func (b Bug) started(n *node)                                                 {}

func stack() string { return string(debug.Stack()) }

var _ channel.ID
