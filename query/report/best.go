package report

import (
	"container/heap"
	"slices"
)

// topN keeps the first limit of the items that it is offered, in an order: a heap with the last of them on top.
type topN[T any] struct {
	limit   int
	compare func(a, b T) int // negative: a comes first
	items   []T
}

// offer takes v in if it is among the first items so far.
func (h *topN[T]) offer(v T) {
	if len(h.items) < h.limit {
		heap.Push(h, v)
	} else if h.compare(v, h.items[0]) < 0 {
		h.items[0] = v
		heap.Fix(h, 0)
	}
}

// full reports whether an item has to leave before another comes in, and which.
func (h *topN[T]) full() (last T, full bool) {
	if len(h.items) < h.limit {
		return last, false
	}
	return h.items[0], true
}

// sorted are the items in order. It ends the heap: offer nothing afterwards.
func (h *topN[T]) sorted() []T {
	slices.SortFunc(h.items, h.compare)
	return h.items
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (h *topN[T]) Len() int           { return len(h.items) }
func (h *topN[T]) Less(i, j int) bool { return h.compare(h.items[i], h.items[j]) > 0 }
func (h *topN[T]) Swap(i, j int)      { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *topN[T]) Push(x any)         { h.items = append(h.items, x.(T)) }
func (h *topN[T]) Pop() any           { panic("nothing is taken out") }
