package regtest

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
)

// hodlPlugin is the plugin of the folder eclair, which Eclair needs to let payments wait.
var hodlPlugin struct {
	sync.Mutex
	dir, jar string
}

// builtHodl builds the plugin, once for all tests, with javac and the jars beside eclair's own script. Without these there is none, and Hodl says so.
func builtHodl(eclair string) (jar string, err error) {
	hodlPlugin.Lock()
	defer hodlPlugin.Unlock()
	if hodlPlugin.jar != "" {
		return hodlPlugin.jar, nil
	}
	script, err := filepath.EvalSymlinks(eclair)
	if err != nil {
		return "", err
	}
	lib := filepath.Join(filepath.Dir(filepath.Dir(script)), "lib")
	if _, err := os.Stat(lib); err != nil {
		return "", nil
	}
	javac := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "javac")
	if _, err := os.Stat(javac); err != nil {
		if javac, err = exec.LookPath("javac"); err != nil {
			return "", nil
		}
	}
	if hodlPlugin.dir == "" {
		if hodlPlugin.dir, err = os.MkdirTemp("", "hodl"); err != nil {
			return "", err
		}
	}
	source := filepath.Join("eclair", "Hodl.java") // tests run in the folder of their package
	out, err := exec.Command(javac, "-cp", filepath.Join(lib, "*"), "-d", hodlPlugin.dir, source).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("javac %s: %w\n%s", source, err, out)
	}
	jar = filepath.Join(hodlPlugin.dir, "hodl.jar")
	if err := packJar(jar, hodlPlugin.dir, "Hodl"); err != nil {
		return "", err
	}
	hodlPlugin.jar = jar
	return jar, nil
}

// packJar packs the classes of a folder, with the name of the one that begins.
func packJar(jar, dir, main string) error {
	classes, err := filepath.Glob(filepath.Join(dir, "*.class"))
	if err != nil {
		return err
	}
	f, err := os.Create(jar)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	add := func(name string, content []byte) error {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	if err := add("META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\nMain-Class: "+main+"\n")); err != nil {
		return err
	}
	for _, class := range classes {
		content, err := os.ReadFile(class)
		if err != nil {
			return err
		}
		if err := add(filepath.Base(class), content); err != nil {
			return err
		}
	}
	return z.Close()
}

// hodlFile is by which the plugin is told of a payment, or tells of it.
func (e *Eclair) hodlFile(hash, what string) string { return filepath.Join(e.dir, "hodl", hash+what) }

// Hodl makes an invoice whose payment waits, until Settle.
func (e *Eclair) Hodl(msat uint64) (inv Invoice, preimage []byte, err error) {
	if e.plugin == "" {
		return inv, nil, errors.New("eclair needs a plugin for that: neither javac nor eclair's jars were found")
	}
	preimage = random32()
	inv, err = e.invoice("amountMsat", strconv.FormatUint(msat, 10), "paymentPreimage", hex.EncodeToString(preimage))
	if err != nil {
		return inv, nil, err
	}
	return inv, preimage, os.WriteFile(e.hodlFile(inv.Hash, ""), nil, 0o600)
}

// Accepted says whether the payment of a Hodl invoice waits.
func (e *Eclair) Accepted(inv Invoice) (bool, error) {
	_, err := os.Stat(e.hodlFile(inv.Hash, ".waiting"))
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}

// Settle takes what waits.
func (e *Eclair) Settle(preimage []byte) error {
	hash := sha256.Sum256(preimage)
	return os.WriteFile(e.hodlFile(hex.EncodeToString(hash[:]), ".settle"), nil, 0o600)
}
