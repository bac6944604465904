package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"lightningrod/node"
)

// newsLevels are the events that an operator reads of in the log; all the others are told at debug. What the node itself warns of is not among them.
var newsLevels = map[node.Kind]slog.Level{
	node.ChannelOpening: slog.LevelInfo, node.ChannelReady: slog.LevelInfo, node.ChannelClosed: slog.LevelInfo, node.ChannelOnChain: slog.LevelWarn,
	node.WalletSent: slog.LevelInfo, node.WalletBumped: slog.LevelInfo,
}

// goNews has the node's events written to the log until stop is called.
func goNews(n *node.Node, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		logNews(ctx, n, log)
	}()
	return func() { cancel(); <-ended }
}

// logNews writes the node's events to the log, from now until ctx or the node ends.
func logNews(ctx context.Context, n *node.Node, log *slog.Logger) {
	news := n.Events(n.LastEvent() + 1)
	defer func() { news.Close() }()
	for {
		ev, err := news.Next(ctx)
		var gone *node.NoEventError
		if errors.As(err, &gone) { // we were too slow
			news.Close()
			news = n.Events(n.OldestEvent())
			continue
		}
		if err != nil {
			return
		}
		level, known := newsLevels[ev.Kind]
		if !known {
			level = slog.LevelDebug
		}
		if !log.Enabled(ctx, level) {
			continue
		}
		args := []any{"seq", ev.Seq}
		for _, name := range slices.Sorted(maps.Keys(ev.Fields)) {
			args = append(args, name, ev.Fields[name])
		}
		log.Log(ctx, level, string(ev.Kind), args...)
	}
}
