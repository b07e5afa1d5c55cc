package tree

import "sync"

const direntBytes = 64 << 10

var direntBuffers = sync.Pool{New: func() any { return new([direntBytes]byte) }}
