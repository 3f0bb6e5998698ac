package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// minMajor is the oldest Postgres that the SQL of this project runs on.
const minMajor = 15

// ErrNotInstalled says that this machine has no Postgres that could be started.
var ErrNotInstalled = fmt.Errorf("no PostgreSQL %d or newer is installed here: install it with "+
	"`apt-get install -y postgresql` (macOS: `brew install postgresql`)", minMajor)

// errOtherVersion says that the Postgres that can read a data directory is missing, while another is installed.
var errOtherVersion = errors.New("wrong version of PostgreSQL")

// binaries is one installed Postgres.
type binaries struct {
	dir     string // holds postgres and initdb
	version string // such as "15.18"
	major   int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// findBinaries picks the installation to run: with major 0 the one in PATH, else the newest; otherwise one of that
// major version, because a data directory is readable for one major version only.
func findBinaries(ctx context.Context, as account, major int) (binaries, error) {
	var other string
	for _, dir := range binaryDirs() {
		b, err := inspect(ctx, as, dir)
		if err != nil {
			continue // a folder without a Postgres that works: the next one may have it
		}
		if b.major == major || (major == 0 && b.major >= minMajor) {
			return b, nil
		}
		other = cmp.Or(other, b.version)
	}
	if ctx.Err() != nil {
		return binaries{}, ctx.Err()
	}
	if major == 0 || other == "" {
		return binaries{}, ErrNotInstalled
	}
	return binaries{}, fmt.Errorf("%w: PostgreSQL %d made the data directory, and PostgreSQL %s, which is installed, "+
		"cannot read it", errOtherVersion, major, other)
}

// binaryDirs lists where Postgres may be: PATH, then the folders of Debian, Red Hat, Homebrew and Postgres.app, newest
// first, then what an earlier start downloaded.
func binaryDirs() []string {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	var packaged []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // only a malformed pattern
		}
		packaged = append(packaged, matches...)
	}
	slices.SortStableFunc(packaged, func(a, b string) int { return cmp.Compare(numberIn(b), numberIn(a)) })
	dirs = append(dirs, packaged...)
	if dir, err := downloadDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "bin"))
	}
	return dirs
}

var firstNumber = regexp.MustCompile(`\d+`)

// numberIn is the first number in the path of an installation, its major version, and 0 where it has none.
func numberIn(path string) int {
	n, err := strconv.Atoi(firstNumber.FindString(path))
	if err != nil {
		return 0
	}
	return n
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect asks the programs in dir for their version, as the account that will run them.
func inspect(ctx context.Context, as account, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := as.command(ctx, "/", b.path("initdb"), "--version").Output(); err != nil {
		return b, err
	}
	out, err := as.command(ctx, "/", b.path("postgres"), "--version").Output()
	if err != nil {
		return b, err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return b, errors.New("postgres --version names no version")
	}
	b.version = string(m[1])
	b.major, err = strconv.Atoi(string(m[2]))
	return b, err
}

// Installed names the Postgres that StartLocal would run for a new data directory: its version, such as "15.18", and
// the folder of its programs. Error: ErrNotInstalled, even where StartLocal would download one.
func Installed(ctx context.Context) (version, dir string, err error) {
	as, err := serverAccount()
	if err != nil {
		return "", "", err
	}
	b, err := findBinaries(ctx, as, 0)
	return b.version, b.dir, err
}
