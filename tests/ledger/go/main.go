// Command verify checks a log with golang.org/x/mod alone, the library behind Go's own
// checksum database. It shares no code with the log's writer.
//
//	verify log FOLDER VKEY           every file of a log, every proof that it allows
//	verify file VKEY ENTRY PROOF     one entry, by a c2sp.org/tlog-proof@v1 file
//	verify paths < lines             proofs one per line, an answer per line
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "log":
		return verifyLog(args[1], args[2])
	case len(args) == 4 && args[0] == "file":
		return verifyFile(args[1], args[2], args[3])
	case len(args) == 1 && args[0] == "paths":
		return answerPaths()
	}
	return errors.New("usage: verify log FOLDER VKEY | file VKEY ENTRY PROOF | paths")
}

// verifyLog derives everything that a log's files claim, and prints what it counted.
func verifyLog(folder, vkey string) error {
	checkpoint, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(checkpoint, vkey)
	if err != nil {
		return err
	}
	// Each hash that this reader gives is proven against the checkpoint's root first.
	files := &tiles{folder: folder}
	hashes, err := allHashes(tree, tlog.TileHashReader(tree, files))
	if err != nil {
		return err
	}
	entries, err := verifyEntries(folder, tree, hashes)
	if err != nil {
		return err
	}
	consistent, err := verifyHistory(tree, hashes)
	if err != nil {
		return err
	}
	fmt.Printf("size %d entries %d consistent %d tiles %d\n", tree.N, entries, consistent, len(files.seen))
	return nil
}

// openCheckpoint returns the tree of a note that the log's key signed.
func openCheckpoint(data []byte, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	// tlog.ParseTree knows one origin only, that of Go's own database.
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, errors.New("the note is no checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tiles reads the tiles of a log from its folder.
type tiles struct {
	folder string
	seen   map[string]bool
}

func (t *tiles) Height() int                     { return height }
func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(asked []tlog.Tile) ([][]byte, error) {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	var found [][]byte
	for _, tile := range asked {
		// Go's paths name the height of tiles, which is always 8 in C2SP's.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		t.seen[path] = true
		found = append(found, data)
	}
	return found, nil
}

// allHashes reads every hash of a tree, in the order of tlog.StoredHashIndex.
func allHashes(tree tlog.Tree, reader tlog.HashReader) (tlog.HashReader, error) {
	indexes := make([]int64, tlog.StoredHashCount(tree.N))
	for i := range indexes {
		indexes[i] = int64(i)
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	return tlog.HashReaderFunc(func(asked []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(asked))
		for i, index := range asked {
			found[i] = hashes[index]
		}
		return found, nil
	}), nil
}

// verifyEntries proves that each entry of each bundle is in the tree, at its place.
func verifyEntries(folder string, tree tlog.Tree, hashes tlog.HashReader) (int64, error) {
	index := int64(0)
	for bundle := int64(0); index < tree.N; bundle++ {
		entries, err := readBundle(folder, bundle, min(tree.N-index, width))
		if err != nil {
			return index, err
		}
		for _, entry := range entries {
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return index, err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return index, fmt.Errorf("entry %d: %w", index, err)
			}
			index++
		}
	}
	return index, nil
}

func readBundle(folder string, number, count int64) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: number, W: int(count)}
	path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
	data, err := os.ReadFile(filepath.Join(folder, path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) >= 2 {
		size := 2 + int(binary.BigEndian.Uint16(data))
		if size > len(data) {
			return nil, fmt.Errorf("%s is cut off", path)
		}
		entries, data = append(entries, data[2:size]), data[size:]
	}
	if len(data) > 0 || int64(len(entries)) != count {
		return nil, fmt.Errorf("%s holds %d entries and %d bytes more", path, len(entries), len(data))
	}
	return entries, nil
}

// verifyHistory proves each earlier tree a prefix of this one, and of one in between.
func verifyHistory(tree tlog.Tree, hashes tlog.HashReader) (int64, error) {
	for size := int64(1); size <= tree.N; size++ {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return size, err
		}
		if err := verifyPrefix(tree, tlog.Tree{N: size, Hash: root}, hashes); err != nil {
			return size, err
		}
		earlier := (size + 1) / 2
		before, err := tlog.TreeHash(earlier, hashes)
		if err != nil {
			return size, err
		}
		if err := verifyPrefix(tlog.Tree{N: size, Hash: root}, tlog.Tree{N: earlier, Hash: before}, hashes); err != nil {
			return size, err
		}
	}
	return tree.N, nil
}

func verifyPrefix(whole, part tlog.Tree, hashes tlog.HashReader) error {
	proof, err := tlog.ProveTree(whole.N, part.N, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, whole.N, whole.Hash, part.N, part.Hash); err != nil {
		return fmt.Errorf("trees of %d and %d: %w", part.N, whole.N, err)
	}
	return nil
}

// verifyFile checks a proof file, and the entry that it is about.
func verifyFile(vkey, entryPath, proofPath string) error {
	entry, err := os.ReadFile(entryPath)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(proofPath)
	if err != nil {
		return err
	}
	head, checkpoint, _ := bytes.Cut(data, []byte("\n\n"))
	tree, err := openCheckpoint(checkpoint, vkey)
	if err != nil {
		return err
	}
	lines := strings.Split(string(head), "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no proof file")
	}
	number, found := strings.CutPrefix(lines[1], "index ")
	index, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil {
		return errors.New("no index")
	}
	path, err := parseHashes(lines[2:])
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("size %d index %d\n", tree.N, index)
	return nil
}

// answerPaths answers "inclusion INDEX LEAF SIZE ROOT PATH..." and
// "consistency FIRST ROOT SIZE ROOT PATH...", hashes in base64, with yes or no.
func answerPaths() error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		err := checkPath(strings.Fields(lines.Text()))
		fmt.Println(map[bool]string{true: "yes", false: "no"}[err == nil])
	}
	return lines.Err()
}

func checkPath(fields []string) error {
	if len(fields) < 5 {
		return errors.New("too few fields")
	}
	number, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(append([]string{fields[2], fields[4]}, fields[5:]...))
	if err != nil {
		return err
	}
	first, root, path := hashes[0], hashes[1], hashes[2:]
	if fields[0] == "inclusion" {
		return tlog.CheckRecord(path, size, root, number, first)
	}
	return tlog.CheckTree(path, size, root, number, first)
}

func parseHashes(texts []string) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, text := range texts {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(data) != tlog.HashSize {
			return nil, errors.New("no hash")
		}
		hashes = append(hashes, tlog.Hash(data))
	}
	return hashes, nil
}
