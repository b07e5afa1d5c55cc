//go:build !reading

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// tlsFlags have a server speak HTTPS: TLS 1.2 or later, HTTP/2 or HTTP/1.1.
type tlsFlags struct {
	TLSCert string `name:"tls-cert" placeholder:"FILE" env:"FUSTOR_TLS_CERT" help:"Serve HTTPS with the certificate in this file, followed by those that vouch for it (PEM); needs --tls-key. The files are read again when they change."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" env:"FUSTOR_TLS_KEY" help:"The certificate's private key (PEM)."`
}

// listen listens on an address, for HTTPS if there is a certificate.
func (f tlsFlags) listen(address string, logger *slog.Logger) (net.Listener, error) {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return nil, usageError("--tls-cert and --tls-key need each other")
	}
	if f.TLSCert == "" {
		return listen(address)
	}
	c := &certificate{files: [2]string{f.TLSCert, f.TLSKey}, logger: logger, now: time.Now}
	if err := c.load(); err != nil {
		return nil, &cliError{msg: fmt.Sprintf("load the certificate: %v", plain(err)), code: exitFailure, err: err,
			hint: "--tls-cert is a file of PEM with the server's certificate first, --tls-key one with its private key, which the user of this server may read"}
	}
	l, err := listen(address)
	if err != nil {
		return nil, err
	}
	return secured{l, &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}}, nil
}

// secured is a listener for HTTPS. Its connections are still bare: servingFlags.serve counts them before anybody has shaken hands.
type secured struct {
	net.Listener
	config *tls.Config
}

// urlOf is where a listener answers.
func urlOf(l net.Listener) string {
	if _, ok := l.(secured); ok {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// ownURL is where processes of this machine reach a listener: at its address, or for HTTPS at a name in its certificate if that does not
// have the address.
func ownURL(l net.Listener) string {
	address := reachable(l.Addr())
	s, ok := l.(secured)
	if !ok {
		return "http://" + address
	}
	host, port, err := net.SplitHostPort(address)
	if c, certErr := s.config.GetCertificate(nil); err == nil && certErr == nil && c.Leaf.VerifyHostname(host) != nil {
		for _, name := range c.Leaf.DNSNames {
			if !strings.Contains(name, "*") {
				return "https://" + net.JoinHostPort(name, port)
			}
		}
	}
	return "https://" + address
}

// certificate is one in files, which are read again when they have changed. While they cannot be read, or do not belong together, as between
// the writing of one and of the other, the one before stays. It is safe for concurrent use.
type certificate struct {
	files  [2]string // of the certificate, and of its key
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	stamps [2]stamp
	looked time.Time
	warned [2]stamp // what a failure was logged for
}

// stamp tells the contents of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery || now.Before(c.looked) {
		c.looked = now
		c.reload()
	}
	return c.loaded, nil
}

// reload takes files in that have changed. The lock is held.
func (c *certificate) reload() {
	stamps, err := c.look()
	if err == nil && stamps == c.stamps {
		return
	}
	if err == nil {
		err = c.load()
	}
	switch {
	case err == nil:
		c.logger.Info("the certificate has changed and is used from now on", "file", c.files[0], "valid_until", c.loaded.Leaf.NotAfter)
	case stamps != c.warned:
		c.warned = stamps
		c.logger.Warn("the certificate's files have changed and cannot be used; the one before stays", "file", c.files[0], "error", err)
	}
}

// look stamps the files. One that is not there has the zero stamp, and is an error.
func (c *certificate) look() (stamps [2]stamp, err error) {
	for i, name := range c.files {
		info, statErr := os.Stat(name)
		if statErr != nil {
			err = errors.Join(err, statErr)
			continue
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, err
}

// load reads the files.
func (c *certificate) load() error {
	stamps, err := c.look() // before they are read: what is written meanwhile is read again
	if err != nil {
		return err
	}
	loaded, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return err
	}
	c.loaded, c.stamps = &loaded, stamps
	return nil
}
