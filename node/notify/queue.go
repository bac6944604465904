package notify

import (
	"container/heap"
	"time"
)

// item is an entry that is not done.
type item struct {
	Entry
	host    string
	due     time.Time
	index   int // in its host's queue; -1: not in it
	removed bool
}

// host is what is known about one receiver: its entries that wait, earliest first, and its attempts under way. There is
// one as long as it has either.
type host struct {
	queue queue
	busy  int
}

// schedule starts attempts when they are due.
func (d *Deliverer) schedule() {
	for {
		start, wait := d.take(d.cfg.Clock.Now())
		for _, it := range start {
			d.wg.Go(func() { d.attempt(it) })
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = d.cfg.Clock.After(wait)
		}
		select {
		case <-d.wake:
		case <-timer:
		case <-d.ctx.Done():
			return
		}
	}
}

// take removes from the queues what is to be tried now, and says how long until the next is due; 0 when nothing is, or
// when an attempt must end first.
func (d *Deliverer) take(now time.Time) (start []*item, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hosts {
		for len(h.queue) > 0 && h.busy < d.cfg.MaxPerHost && d.inFlight < d.cfg.MaxInFlight {
			if left := h.queue[0].due.Sub(now); left > 0 {
				if wait == 0 || left < wait {
					wait = left
				}
				break
			}
			it := heap.Pop(&h.queue).(*item)
			h.busy++
			d.inFlight++
			start = append(start, it)
		}
	}
	return start, wait
}

// push queues an item.
func (d *Deliverer) push(it *item) {
	h := d.hosts[it.host]
	if h == nil {
		h = new(host)
		d.hosts[it.host] = h
	}
	heap.Push(&h.queue, it)
}

func (d *Deliverer) unqueue(it *item) {
	if h := d.hosts[it.host]; h != nil && it.index >= 0 {
		heap.Remove(&h.queue, it.index)
		d.tidy(it.host)
	}
}

// settle ends an attempt: the item is queued for another one if there is to be one, or forgotten. It says whether the
// item was still wanted.
func (d *Deliverer) settle(it *item, again bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	d.hosts[it.host].busy--
	switch {
	case it.removed:
	case again:
		d.push(it)
	default:
		delete(d.items, it.ID)
	}
	d.tidy(it.host)
	d.signal()
	return !it.removed
}

func (d *Deliverer) tidy(name string) {
	if h := d.hosts[name]; h.busy == 0 && len(h.queue) == 0 {
		delete(d.hosts, name)
	}
}

func (d *Deliverer) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// queue is a heap of items by time.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	it.index = -1
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return it
}
