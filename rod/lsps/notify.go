package lsps

import (
	"errors"
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// The headers of a webhook call.
const (
	HeaderTimestamp = "x-lsps5-timestamp"
	HeaderSignature = "x-lsps5-signature"
)

// Body is the notification, exactly as it is posted and signed. Params is a JSON object.
func Body(method, params string) []byte {
	return []byte(`{"jsonrpc":"2.0","method":"` + method + `","params":` + params + `}`)
}

// SigningText is what the LSP signs. bLIP 55 "Webhook Call".
func SigningText(timestamp string, body []byte) string {
	return "LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At " + timestamp + " I notify " + string(body)
}

// Sign is LSPS0.ln_signature, the signmessage of lnd and others.
func Sign(key *btcec.PrivateKey, text string) string {
	return zbase32(ecdsa.SignCompact(key, textDigest(text), true))
}

// Signer gives the node id whose signature of text sig is.
func Signer(text, sig string) ([33]byte, error) {
	raw, err := unzbase32(sig)
	if err != nil {
		return [33]byte{}, err
	}
	if len(raw) != 65 {
		return [33]byte{}, fmt.Errorf("signature length %d is not 65", len(raw))
	}
	key, _, err := ecdsa.RecoverCompact(raw, textDigest(text))
	if err != nil {
		return [33]byte{}, errors.New("signature gives no key")
	}
	return [33]byte(key.SerializeCompressed()), nil
}

func textDigest(text string) []byte {
	return chainhash.DoubleHashB([]byte("Lightning Signed Message:" + text))
}

// zbase32Alphabet is that of "human-oriented base-32 encoding".
const zbase32Alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"

func zbase32(b []byte) string {
	var out strings.Builder
	acc, n := uint(0), 0
	for _, c := range b {
		acc, n = acc<<8|uint(c), n+8
		for ; n >= 5; n -= 5 {
			out.WriteByte(zbase32Alphabet[acc>>(n-5)&31])
		}
	}
	if n > 0 {
		out.WriteByte(zbase32Alphabet[acc<<(5-n)&31])
	}
	return out.String()
}

func unzbase32(s string) ([]byte, error) {
	out := make([]byte, 0, len(s)*5/8)
	acc, n := uint(0), 0
	for i := range len(s) {
		v := strings.IndexByte(zbase32Alphabet, s[i])
		if v < 0 {
			return nil, errors.New("signature is not zbase32")
		}
		acc, n = acc<<5|uint(v), n+5
		if n >= 8 {
			out = append(out, byte(acc>>(n-8)))
			n -= 8
		}
	}
	if n >= 5 || acc&(1<<n-1) != 0 {
		return nil, errors.New("signature is not zbase32: bits left over")
	}
	return out, nil
}

// Datetime is LSPS0.datetime of a time in unix milliseconds: YYYY-MM-DDThh:mm:ss.uuuZ.
func Datetime(ms int64) string {
	const day = 86400_000
	days, rest := ms/day, ms%day
	if rest < 0 {
		days, rest = days-1, rest+day
	}
	// The Gregorian calendar in eras of 400 years of 146097 days, each year beginning in March so that the leap day comes last.
	days += 719468 // from 0000-03-01 to 1970-01-01
	era := days / 146097
	if days < 0 {
		era = (days - 146096) / 146097
	}
	d := days - era*146097
	y := (d - d/1460 + d/36524 - d/146096) / 365
	d -= y*365 + y/4 - y/100
	m := (5*d + 2) / 153
	d -= (153*m+2)/5 - 1
	y += era * 400
	if m += 3; m > 12 {
		m, y = m-12, y+1
	}
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y, m, d, rest/3600_000, rest/60_000%60, rest/1000%60, rest%1000)
}
