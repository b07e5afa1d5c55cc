package report

import (
	"container/heap"
	"slices"
)

// best keeps the first n of what it is offered, in an order: a heap with the one that goes next on top.
type best[T any] struct {
	n       int
	compare func(a, b T) int // negative: a comes first
	items   []T
}

// offer takes v in if it is among the first n so far.
func (h *best[T]) offer(v T) {
	if len(h.items) < h.n {
		heap.Push(h, v)
	} else if h.compare(v, h.items[0]) < 0 {
		h.items[0] = v
		heap.Fix(h, 0)
	}
}

// full reports whether something has to go before something else comes in: last, which it returns.
func (h *best[T]) full() (last T, full bool) {
	if len(h.items) < h.n {
		return last, false
	}
	return h.items[0], true
}

// sorted are the items in order. Nothing can be offered afterwards.
func (h *best[T]) sorted() []T {
	slices.SortFunc(h.items, h.compare)
	return h.items
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (h *best[T]) Len() int           { return len(h.items) }
func (h *best[T]) Less(i, j int) bool { return h.compare(h.items[i], h.items[j]) > 0 }
func (h *best[T]) Swap(i, j int)      { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *best[T]) Push(x any)         { h.items = append(h.items, x.(T)) }
func (h *best[T]) Pop() any           { panic("nothing is taken out") }
