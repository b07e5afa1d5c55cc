package httpapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the addresses of reverse proxies. They alone are believed when they say for whom they ask.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks: 10.1.2.3, 10.1.2.0/24, 2001:db8::/32.
func ParseProxies(texts []string) (Proxies, error) {
	var p Proxies
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if ip, bad := netip.ParseAddr(text); bad == nil && ip.Zone() == "" {
			prefix, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is neither an IP address nor a network such as 10.1.2.0/24", text)
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

// Trust reports whether an address, with a port or without, is one of them. The peers of a Unix socket have no address.
func (p Proxies) Trust(remote string) bool {
	ip, ok := addressOf(remote)
	return ok && p.have(ip)
}

func (p Proxies) have(ip netip.Addr) bool {
	return slices.ContainsFunc(p, func(from netip.Prefix) bool { return from.Contains(ip) })
}

type clientKey struct{}

// Wrap notes for whom a proxy asks. It must stand around everything that asks for ClientIP.
func (p Proxies) Wrap(h http.Handler) http.Handler {
	if len(p) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, p.Noted(r)) })
}

// Noted is a request of which ClientIP is the address for which a proxy asks.
func (p Proxies) Noted(r *http.Request) *http.Request {
	if _, noted := forwardedClient(r); noted {
		return r
	}
	client, ok := p.client(r)
	if !ok {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), clientKey{}, client))
}

// client is for whom a proxy asks: the last address on the way that is no proxy's. What stands before that address is whatever a client
// sent. X-Forwarded-For counts, and Forwarded (RFC 7239) where there is none of it: a proxy that writes the one passes on the other.
//
// Example: of "203.0.113.9, 198.51.100.7, 10.1.2.3" from 10.1.2.4, where 10.1.2.0/24 are proxies, the client is 198.51.100.7.
func (p Proxies) client(r *http.Request) (netip.Addr, bool) {
	if !p.Trust(r.RemoteAddr) {
		return netip.Addr{}, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if r.Header.Get("X-Forwarded-For") == "" {
		hops = forwardedFor(r.Header.Values("Forwarded"))
	}
	client, known := netip.Addr{}, false
	for _, hop := range slices.Backward(hops) {
		ip, ok := addressOf(strings.TrimSpace(hop))
		if !ok { // "unknown", "_hidden": the address before it is as far as anybody knows
			break
		}
		client, known = ip, true
		if !p.have(ip) {
			break
		}
	}
	return client, known
}

// forwardedFor are the for= of Forwarded headers, in order; empty where an element has none.
func forwardedFor(values []string) (hops []string) {
	for element := range strings.SplitSeq(strings.Join(values, ","), ",") {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "for") {
				hop = strings.Trim(value, `"`)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// addressOf reads an IP address, with a port or without: 192.0.2.1, 192.0.2.1:4711, [2001:db8::1]:4711.
func addressOf(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return ip.Unmap().WithZone(""), err == nil
}

// forwardedClient is the address for which a trusted proxy asks.
func forwardedClient(r *http.Request) (netip.Addr, bool) {
	ip, ok := r.Context().Value(clientKey{}).(netip.Addr)
	return ip, ok
}
