package layer

// Parents is a heap (container/heap) of directories that are to be gone into, each as the Parent of its entries' keys. The least comes
// first, so a cursor that follows it moves forward only.
type Parents []string

func (p Parents) Len() int           { return len(p) }
func (p Parents) Less(i, j int) bool { return p[i] < p[j] }
func (p Parents) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }

// Push adds x, a string.
func (p *Parents) Push(x any) { *p = append(*p, x.(string)) }

// Pop removes the last.
func (p *Parents) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}
