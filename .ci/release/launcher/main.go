// Command kubectl-riskladder is the command line of Riskladder in one file, with its own Python: nothing else has to be
// installed. On the first start it unpacks both into the user's cache, which later starts use as it is.
package main

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kluctl/go-embed-python/python"
)

// The packages of one platform, which the release script puts here.
//
//go:embed payload.zip
var payload []byte

// What names a payload: its version and a part of its digest.
var build string

const (
	command    = "import sys; sys.argv[0] = 'kubectl-riskladder'; from riskladder.cli.main import app; app()"
	completion = "from riskladder.cli.completion import main; main()"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
}

func run() error {
	home, err := unpacked()
	if err != nil {
		return err
	}
	code := command
	// kubectl asks a program of this name for completions: a link to this file will do.
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl_complete-") {
		code = completion
	}
	interpreter := filepath.Join(home, "bin", "python3")
	// -I: no setting and no module of the user's own Python takes part.
	arguments := append([]string{interpreter, "-I", "-c", code}, os.Args[1:]...)
	return fmt.Errorf("%s cannot be run: %w", interpreter, syscall.Exec(interpreter, arguments, os.Environ()))
}

// unpacked returns where Python and the packages are. Another process may unpack at the same time: the first one wins.
func unpacked() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory to unpack into: %w: set XDG_CACHE_HOME", err)
	}
	root := filepath.Join(cache, "riskladder", "plugin")
	home := filepath.Join(root, build)
	if _, err := os.Stat(home); err == nil {
		return home, nil
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("cannot unpack: %w: set XDG_CACHE_HOME to a directory that can be written", err)
	}
	partial, err := os.MkdirTemp(root, build+"-")
	if err != nil {
		return "", fmt.Errorf("cannot unpack: %w: set XDG_CACHE_HOME to a directory that can be written", err)
	}
	defer os.RemoveAll(partial)
	if _, err := python.NewEmbeddedPythonWithTmpDir(partial, false); err != nil {
		return "", fmt.Errorf("cannot unpack Python into %s: %w", partial, err)
	}
	if err := unzip(partial); err != nil {
		return "", fmt.Errorf("cannot unpack into %s: %w", partial, err)
	}
	if err := os.Rename(partial, home); err != nil {
		if _, missing := os.Stat(home); missing != nil {
			return "", fmt.Errorf("cannot unpack into %s: %w", home, err)
		}
	}
	return home, nil
}

func unzip(target string) error {
	archive, err := zip.NewReader(bytes.NewReader(payload), int64(len(payload)))
	if err != nil {
		return err
	}
	for _, member := range archive.File {
		file := filepath.Join(target, filepath.FromSlash(member.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		content, err := member.Open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
