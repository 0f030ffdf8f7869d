package limits

import (
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
)

// tree is a file system of texts.
func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const (
	mountV2  = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
	mountV1  = "20 1 8:1 / / rw - ext4 /dev/sda rw\n32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	bothV1V2 = mountV1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

func TestCPUs(t *testing.T) {
	for _, c := range []struct {
		name   string
		mounts string
		group  string
		files  map[string]string
		want   int
	}{
		{"nothing is known", "", "", nil, Unlimited},
		{"garbage", "a b\n - \nx - y z w\n", "0:\n::\n7:cpu\n0::x\n", nil, Unlimited},
		{"v2 without a limit", mountV2, "0::/a/b\n", map[string]string{"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, Unlimited},
		{"v2, half", mountV2, "0::/a/b\n", map[string]string{"sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 1},
		{"v2, one", mountV2, "0::/a/b\n", map[string]string{"sys/fs/cgroup/a/b/cpu.max": "100000 100000\n"}, 1},
		{"v2, a little more than one", mountV2, "0::/a/b\n", map[string]string{"sys/fs/cgroup/a/b/cpu.max": "100001 100000\n"}, 2},
		{"v2, two and a half", mountV2, "0::/a/b\n", map[string]string{"sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 3},
		{"v2, the tightest is above", mountV2, "0::/a/b\n", map[string]string{
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 2},
		{"v2, a namespace", mountV2, "0::/\n", map[string]string{"sys/fs/cgroup/cpu.max": "150000 50000\n"}, 3},
		{"v2, outside of the namespace", mountV2, "0::/../x\n", map[string]string{"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1},
		{"v2, a mount of a part", "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/abc/x\n",
			map[string]string{"sys/fs/cgroup/x/cpu.max": "max 100000\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1},
		{"v2, a mount of another part", "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/abcd\n",
			map[string]string{"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1},
		{"v2, a place with a space", "31 23 0:28 / /my\\040groups ro - cgroup2 cgroup ro\n", "0::/\n", map[string]string{"my groups/cpu.max": "100000 100000\n"}, 1},
		{"v2, broken files", mountV2, "0::/a\n", map[string]string{"sys/fs/cgroup/a/cpu.max": "0 0\n", "sys/fs/cgroup/cpu.max": "100000\n"}, Unlimited},
		{"v1 without a limit", mountV1, "2:cpu,cpuacct:/a\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, Unlimited},
		{"v1, half", mountV1, "2:cpu,cpuacct:/a\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 1},
		{"v1, the tightest is above", mountV1, "4:memory:/m\n2:cpu,cpuacct:/a/b/c\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/a/b/c/cpu.cfs_quota_us": "800000\n", "sys/fs/cgroup/cpu,cpuacct/a/b/c/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 3},
		{"v1 and v2", bothV1V2, "2:cpu,cpuacct:/a\n0::/b\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/unified/b/cpu.max": "200000 100000\n"}, 2},
		{"cpuset is another controller", "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n", "2:cpuset:/\n",
			map[string]string{"sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "1\n", "sys/fs/cgroup/cpuset/cpu.cfs_period_us": "1\n"}, Unlimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"proc/self/mountinfo": c.mounts, "proc/self/cgroup": c.group}
			for name, text := range c.files {
				files[name] = text
			}
			if got := cpus(tree(files)); got != c.want {
				t.Errorf("%d CPUs, want %d", got, c.want)
			}
		})
	}
}

func TestPhysical(t *testing.T) {
	const info = "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:    2000 kB\n"
	for _, c := range []struct {
		name  string
		group string
		files map[string]string
		want  int64
	}{
		{"nothing is known", "", nil, Unlimited},
		{"no group", "", map[string]string{"proc/meminfo": info}, 2000 << 10},
		{"v2 without a limit", "0::/a\n", map[string]string{"proc/meminfo": info, "sys/fs/cgroup/unified/a/memory.max": "max\n", "sys/fs/cgroup/unified/a/memory.current": "5\n"}, 2000 << 10},
		{"v2", "0::/a\n", map[string]string{"proc/meminfo": info, "sys/fs/cgroup/unified/a/memory.max": "1000000\n", "sys/fs/cgroup/unified/a/memory.current": "600000\n",
			"sys/fs/cgroup/unified/a/memory.stat": "anon 3\nfile 500000\ninactive_file 300000\nactive_file 100000\n"}, 800000},
		{"v2, memory.high", "0::/a\n", map[string]string{"sys/fs/cgroup/unified/a/memory.max": "1000000\n", "sys/fs/cgroup/unified/a/memory.high": "700000\n", "sys/fs/cgroup/unified/a/memory.current": "600000\n"}, 100000},
		{"v2, above", "0::/a/b\n", map[string]string{"sys/fs/cgroup/unified/a/b/memory.max": "max\n", "sys/fs/cgroup/unified/a/b/memory.current": "6\n",
			"sys/fs/cgroup/unified/a/memory.max": "1000\n", "sys/fs/cgroup/unified/a/memory.current": "2000\n"}, 0},
		{"v1", "4:memory:/a\n", map[string]string{"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000000\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "900000\n",
			"sys/fs/cgroup/memory/a/memory.stat": "cache 3\ntotal_inactive_file 500000\ntotal_active_file 7\n"}, 600007},
		{"v1 without a limit", "4:memory:/a\n", map[string]string{"proc/meminfo": info, "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "900000\n"}, 2000 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"proc/self/mountinfo": bothV1V2, "proc/self/cgroup": c.group}
			for name, text := range c.files {
				files[name] = text
			}
			if got := physical(tree(files)); got != c.want {
				t.Errorf("%d bytes, want %d", got, c.want)
			}
		})
	}
}

// TestHere: whatever this machine says makes sense.
func TestHere(t *testing.T) {
	if n := CPUs(); n < 1 {
		t.Errorf("%d CPUs", n)
	}
	m := FreeMemory()
	if _, err := os.Stat("/proc/meminfo"); err == nil && (m.Physical < 1<<20 || m.Physical == Unlimited) {
		t.Errorf("%+v", m)
	}
	if m.Address < 0 || m.Data < 0 {
		t.Errorf("%+v", m)
	}
}
