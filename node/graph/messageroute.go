package graph

// MessageRoute is a short way for an onion message from one of the start nodes, to which there are connections, to a node: over public
// channels whose ends forward onion messages, as their node_announcement says. It begins with a start node and ends with to. ok is false
// if there is none.
func (g *Graph) MessageRoute(start []NodeID, to NodeID) (way []NodeID, ok bool) {
	const onionMessages = 38
	from := map[NodeID]NodeID{to: to} // towards to
	queue := []NodeID{to}
	starts := map[NodeID]bool{}
	for _, s := range start {
		starts[s] = true
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if starts[at] {
			for way = append(way, at); at != to; way = append(way, at) {
				at = from[at]
			}
			return way, true
		}
		n := g.nodes[at]
		if n == nil {
			continue
		}
		for _, e := range n.edges {
			next := e.nodes[0]
			if next == n {
				next = e.nodes[1]
			}
			if _, seen := from[next.id]; seen || e.spent != 0 || next.announcement == nil || !hasFeature(next.announcement.Features, onionMessages) {
				continue
			}
			from[next.id] = at
			queue = append(queue, next.id)
		}
	}
	return nil, false
}

// hasFeature says whether either bit of a feature is set.
func hasFeature(features []byte, even int) bool {
	at := len(features) - 1 - even/8
	return at >= 0 && features[at]>>(even%8)&3 != 0
}
