package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// EventPage says which events are wanted. Their numbers are for good: they go on over restarts of the node.
type EventPage struct {
	From  Number `query:"from" doc:"the number of the first event that is wanted; 0: the oldest that is kept"`
	After Number `query:"after" doc:"the number of the last event that was seen; not together with from"`
	Limit int    `query:"limit" min:"0" max:"1000" doc:"of one answer, not of a stream; 0: 100"`
}

// start is the number of the first event that is wanted, 0: the oldest. One that is not there is refused.
func (in EventPage) start(node Control) (uint64, error) {
	from, name := uint64(in.From), "from"
	if in.After != 0 {
		if from != 0 {
			return 0, invalid("after", "not together with from", "after %v and from %v", in.After, in.From)
		}
		if from, name = uint64(in.After)+1, "after"; from == 0 {
			from-- // it has not happened yet
		}
	}
	next := node.LastEvent() + 1
	switch oldest := node.OldestEvent(); {
	case from == 0:
	case from > next:
		e := invalid(name, "at most "+Number(next).String(), "event %d has not happened yet: the newest is %d, so the node's files are older than what you know", from, next-1)
		if name == "after" {
			e.Bound = "at most " + Number(next-1).String()
		}
		return 0, e
	case from < oldest:
		return 0, gone(name, from, oldest)
	}
	return from, nil
}

// gone says that an event was deleted from the log.
func gone(field string, from, oldest uint64) *Error {
	e := invalid(field, "at least "+Number(oldest).String(), "event %d is gone: the oldest is %d", from, oldest)
	if e.Code = Gone; field == "after" {
		e.Bound = "at least " + Number(oldest-1).String()
	}
	e.Oldest = Number(oldest)
	return e
}

func listEvents(s *Server, _ context.Context, in EventPage) (List[Event], error) {
	limit := in.Limit
	if limit == 0 {
		limit = 100
	}
	from, err := in.start(s.node)
	if err != nil {
		return List[Event]{}, err
	}
	r := s.node.Events(from)
	defer r.Close()
	now, cancel := context.WithCancel(context.Background())
	cancel() // Next gives what is there and waits for nothing
	l := List[Event]{Items: []Event{}}
	for len(l.Items) < limit {
		ev, err := r.Next(now)
		var e *Error
		if errors.As(err, &e) && len(l.Items) == 0 {
			return l, e
		}
		if err != nil && e == nil {
			return l, nil
		}
		if err != nil {
			break // deleted meanwhile: the next page says so
		}
		l.Items = append(l.Items, ev)
	}
	l.Next = Number(l.Items[len(l.Items)-1].Seq).String()
	return l, nil
}

// keepAlive is how long a stream may be silent.
const keepAlive = 15 * time.Second

// stream sends events as they come, until the client goes or the node drains. Each has its number as id, so that a client which names the
// last one it saw in Last-Event-ID, as browsers do when they connect again, misses none.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) (status int) {
	var in EventPage
	if err := decode(r, nil, &in); err != nil {
		return answerError(w, err)
	}
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		in.From = 0
		if err := in.After.UnmarshalText([]byte(text)); err != nil {
			return answerError(w, invalid("Last-Event-ID", "a decimal number", "%v", err))
		}
	}
	from, err := in.start(s.node)
	if err != nil {
		return answerError(w, err)
	}
	flush := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	reader := s.node.Events(from)
	defer reader.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.drained:
			cancel()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		wait, done := context.WithTimeout(ctx, keepAlive)
		ev, err := reader.Next(wait)
		done()
		var text []byte
		var e *Error
		switch {
		case err == nil:
			text = frame(ev)
		case errors.As(err, &e):
			// It was too slow: the next connection is told so with the status.
			_, _ = w.Write(append(append([]byte("event: error\ndata: "), encode(errorBody{e})...), '\n'))
			return http.StatusOK
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			text = []byte(": still here\n\n")
		default:
			return http.StatusOK
		}
		if _, err := w.Write(text); err != nil {
			return http.StatusOK
		}
		if err := flush.Flush(); err != nil {
			return http.StatusOK
		}
	}
	return http.StatusOK
}

// frame is an event on the wire.
func frame(ev Event) []byte {
	b := []byte("id: " + Number(ev.Seq).String() + "\nevent: " + ev.Kind + "\ndata: ")
	return append(append(b, encode(ev)...), '\n')
}
