package memory

import (
	"testing"
	"testing/fstest"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, fallback},
		"no groups":     {map[string]string{"proc/meminfo": meminfo}, 4000 << 10},
		"v2": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/memory.current": "300000\n",
			"sys/fs/cgroup/a/memory.stat":  "anon 5\ninactive_file 100000\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "300000\n",
		}, 800000},
		"v2 in a container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/docker/1234\n",
			"sys/fs/cgroup/memory.max": "1000000\n", "sys/fs/cgroup/memory.current": "1300000\n",
		}, 0},
		"v1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:hugetlb,memory:/m\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": "2000000\n", "sys/fs/cgroup/memory/m/memory.usage_in_bytes": "500000\n",
			"sys/fs/cgroup/memory/m/memory.stat": "total_inactive_file 100\n",
		}, 1500100},
		"limit above what is there": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "900000000000\n",
		}, 4000 << 10},
		"garbage": {map[string]string{
			"proc/meminfo": "MemAvailable:\n", "proc/self/cgroup": "x",
		}, fallback},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, data := range c.files {
				root[file] = &fstest.MapFile{Data: []byte(data)}
			}
			if got := available(root); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
	if n := Available(); n <= 0 {
		t.Errorf("here: %d", n)
	}
}
