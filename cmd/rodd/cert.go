package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLifetime is what a self-signed certificate is good for; it is made anew in its last month.
const certLifetime = 397 * 24 * time.Hour

// certificate is the one in tls.cert and tls.key. If there is none, or one of ours that is in its last month or lacks a name, it is made. One
// that somebody else put there is never replaced.
func certificate(dir string, names []string, now time.Time) (tls.Certificate, error) {
	certPath, keyPath := filepath.Join(dir, "tls.cert"), filepath.Join(dir, "tls.key")
	names = append([]string{"localhost", "127.0.0.1", "::1"}, names...)
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	switch {
	case err == nil && (!ours(pair.Leaf) || good(pair.Leaf, names, now)):
		return pair, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return pair, err
	}
	certPEM, keyPEM, err := selfSigned(names, now)
	if err != nil {
		return pair, err
	}
	// Without a certificate a key counts for nothing, so that whatever a power cut leaves is made anew.
	if err := os.Remove(certPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return pair, err
	}
	if err := os.WriteFile(keyPath, keyPEM, 0o600); err != nil {
		return pair, err
	}
	if err := os.WriteFile(certPath, certPEM, 0o644); err != nil {
		return pair, err
	}
	return tls.LoadX509KeyPair(certPath, keyPath)
}

const certName = "rodd"

// ours says whether a certificate was made here.
func ours(c *x509.Certificate) bool {
	return c.Subject.String() == c.Issuer.String() && c.Subject.CommonName == certName
}

// good says whether a certificate will do for another month, and for all names.
func good(c *x509.Certificate, names []string, now time.Time) bool {
	for _, name := range names {
		if c.VerifyHostname(name) != nil {
			return false
		}
	}
	return now.Add(30 * 24 * time.Hour).Before(c.NotAfter)
}

func selfSigned(names []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: certName}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

// fingerprint is what rod --pin takes.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}
