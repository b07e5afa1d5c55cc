package httpapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/unixsocket"
)

// DefaultConnections is how many connections an address may have open unless a server says otherwise.
const DefaultConnections = 256

// refusals is how many connections above the limit get an answer that says so. Further ones are closed at once, so that an address
// holds no more than limit + refusals.
const refusals = 16

// ConnectionLimit bounds how many connections one address has open with a server, idle ones included. An IPv4 address counts by itself,
// IPv6 addresses by /64, as one host may use all of these, and a peer of a Unix socket by its uid. Addresses of this machine and root at a
// socket are not bounded: a proxy that runs here brings the connections of everybody. Those of trusted proxies are not either; of whom they
// ask for, the requests under way count.
type ConnectionLimit struct {
	net.Listener
	Proxies Proxies
	limit   int // 0: none
	logger  *slog.Logger

	mu     sync.Mutex
	open   map[string]int // by what remote returns
	warned time.Time      // when a refusal was last logged
}

// LimitConnections bounds the connections of each address at l; 0: not at all. The server on it needs Context as its ConnContext, and
// Wrap around its handler.
func LimitConnections(l net.Listener, limit int, logger *slog.Logger) *ConnectionLimit {
	return &ConnectionLimit{Listener: l, limit: limit, logger: logger, open: map[string]int{}}
}

// Accept implements net.Listener.
func (l *ConnectionLimit) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, bounded := remote(c)
		if l.limit <= 0 || !bounded || l.Proxies.Trust(c.RemoteAddr().String()) {
			return c, nil
		}
		counted, n := l.take(from)
		if !counted {
			_ = c.Close() // a client that has so many knows nothing better to do with an answer
			continue
		}
		return &countedConn{Conn: c, limit: l, from: from, over: n > l.limit}, nil
	}
}

// take counts a connection in, unless there are too many even for an answer. n is how many there are with it.
func (l *ConnectionLimit) take(from string) (counted bool, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = l.open[from] + 1
	if n > l.limit {
		l.warn(from)
	}
	if n > l.limit+refusals {
		return false, n
	}
	l.open[from] = n
	return true, n
}

func (l *ConnectionLimit) release(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

// warn logs a refusal, at most once a minute. The lock is held.
func (l *ConnectionLimit) warn(from string) {
	if now := time.Now(); now.Sub(l.warned) >= time.Minute {
		l.warned = now
		l.logger.Warn("connections are refused: their address has as many open as it may", "client", from, "limit", l.limit)
	}
}

// drainLimit is how long a client may take to read the rest of an answer that was given up.
const drainLimit = 5 * time.Second

type connectionKey struct{}

// Context is the ConnContext of the http.Server. It keeps the peer of a Unix socket for access.Authenticator.
func (l *ConnectionLimit) Context(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	bare := c
	if counted, ok := c.(*countedConn); ok {
		bare = counted.Conn
	}
	if local, ok := bare.(*unixsocket.Conn); ok {
		ctx = unixsocket.WithPeer(ctx, local.Peer)
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// breakOff has the connection of a request end as broken. In HTTP/1.0 an ordinary end is that of the answer, too. A request that came
// another way, as in a Lambda, has no connection.
func breakOff(ctx context.Context) {
	c, _ := ctx.Value(connectionKey{}).(net.Conn)
	if counted, ok := c.(*countedConn); ok {
		c = counted.Conn
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// Closing will send a reset, which drops what the peer has not taken: the last line says what is wrong.
	for deadline := time.Now().Add(drainLimit); unsent(tcp) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = tcp.SetLinger(0)
}

// Wrap answers requests on connections above the limit with 429, and ends these connections. Pages that may call see the answer as they
// see those of h: Wrap stands around cors for both.
func (l *ConnectionLimit) Wrap(cors CORS, h http.Handler) http.Handler {
	served, refused := cors.Wrap(h), cors.Wrap(http.HandlerFunc(l.refuse))
	v2 := ForV2(http.HandlerFunc(l.refuse))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, counted := r.Context().Value(connectionKey{}).(*countedConn)
		over := ""
		if counted && c.over {
			over = c.from
			w.Header().Set("Connection", "close")
		} else if client, ok := forwardedClient(r); ok && l.limit > 0 {
			from := counter(client)
			held, n := l.take(from)
			if held {
				defer l.release(from)
			}
			if n > l.limit {
				over = from
			}
		}
		if over == "" {
			served.ServeHTTP(w, r)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), overKey{}, over))
		if IsV2(r.URL.Path) {
			v2.ServeHTTP(w, r)
			return
		}
		refused.ServeHTTP(w, r)
	})
}

type overKey struct{} // of who is above the limit

// refuse answers a request above the limit.
func (l *ConnectionLimit) refuse(w http.ResponseWriter, r *http.Request) {
	from, _ := r.Context().Value(overKey{}).(string)
	Fail(w, r, &Error{Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Detail: fmt.Sprintf("%s has %d connections open, which is the limit for one address", from, l.limit),
		Hint:   "close some; behind a proxy, name it to the server by --trusted-proxy; where many clients have one address (NAT), set --connections-per-address"})
}

// countedConn is a connection that counts until it is closed.
type countedConn struct {
	net.Conn
	limit  *ConnectionLimit
	from   string
	over   bool
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.limit.release(c.from)
	}
	return c.Conn.Close()
}

// CloseWrite serves http.Server, which ends connections so that the last answer arrives.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// remote is what a connection counts under; not bounded: it comes from this machine.
func remote(c net.Conn) (from string, bounded bool) {
	if local, ok := c.(*unixsocket.Conn); ok {
		return fmt.Sprintf("uid %d", local.Peer.UID), local.Peer.UID != 0
	}
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return "", false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.IsLoopback() || sameHost(c.LocalAddr(), ip) {
		return "", false
	}
	return counter(ip), true
}

// CountedAs is what an address counts under: of IPv6 its /64. What is no address counts by itself.
func CountedAs(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return counter(ip.Unmap().WithZone(""))
}

// counter is what an address counts under.
func counter(ip netip.Addr) string {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	return describe(netip.PrefixFrom(ip, bits).Masked())
}

// sameHost reports whether a connection comes from the address that it goes to.
func sameHost(local net.Addr, remote netip.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap().WithZone("") == remote
}

func describe(from netip.Prefix) string {
	if from.IsSingleIP() {
		return from.Addr().String()
	}
	return from.String()
}
