package ggml

/*
#include <stdlib.h>
#include "ggml.h"
#include "ggml-cpu.h"
#include "ggml-backend.h"
#include "team.h"

static struct ggml_threadpool * pg_threadpool(int threads) {
	struct ggml_threadpool_params params = ggml_threadpool_params_default(threads);
	params.poll = 0; // asleep between graphs
	// Asleep until the first graph wakes them: else they poll for work, a core
	// each, while a model is opened and a picture decoded.
	params.paused = true;
	return ggml_threadpool_new(&params);
}

// The calling thread leads the team, if there is one, while it computes.
static enum ggml_status pg_compute(ggml_backend_sched_t sched, struct ggml_cgraph * graph, struct pg_team * team) {
	pg_team_lead(team);
	enum ggml_status status = ggml_backend_sched_graph_compute(sched, graph);
	pg_team_lead(NULL);
	return status;
}
*/
import "C"

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// MaxNodes bounds the tensors that one graph makes. The largest, 46 layers of
// PaliGemma 2 28B on a prompt of 8,192 tokens, has about 10,000.
const MaxNodes = 16384

// maxTensors bounds all tensors of a graph, with the weights and caches that it
// only refers to; ggml aborts beyond it. No Store may hold more than the
// difference (MaxStored).
const maxTensors = 2*MaxNodes + 1024

// MaxStored is the number of tensors that a Store can hold.
const MaxStored = MaxNodes

// ErrMemory says that the system refused memory.
var ErrMemory = errors.New("not enough memory: use a smaller model or picture, or raise the limit (ulimit -v, the container's)")

// reserved is the address space that ggml's scheduler takes for a number of tensors; of
// its memory it uses next to nothing. On 64-bit machines a tensor has 336 bytes, and
// a node 60 of them and four numbers for each.
const reserved = maxTensors*60*(336+16) + 64<<20

// Options say what a Backend runs on.
type Options struct {
	Device  string // what FindDevices takes: "auto", or names of devices
	Threads int    // CPU threads; 0: DefaultThreads
	Plain   bool   // every graph is Plain: what a device computes, on the CPU
	All     bool   // all threads compute small graphs, too
	Tiles   int64  // queries from which on Graph.Tiles reports true; 0: 64
	Written bool   // attention is written out on devices that have it in one operation
}

// backendHandle is ggml's: a stream of work for one device.
type backendHandle = C.ggml_backend_t

// Backend computes graphs on one device or several, with the CPU as their fallback. It is
// not safe for concurrent use: one computation at a time.
type Backend struct {
	devices []Device
	threads int
	refused int // threads that the system did not start
	plain   bool
	tiles   int64 // Options.Tiles
	all     bool  // Options.All
	written bool  // Options.Written
	// ggmlProducts leaves products to ggml, whose results tests compare with.
	ggmlProducts bool
	backends     []C.ggml_backend_t // of the devices that are not the CPU, and of the CPU: the last, as ggml wants it
	places       []int              // of each device, its index in backends
	sched        C.ggml_backend_sched_t
	pool         *C.struct_ggml_threadpool
	single       *C.struct_ggml_threadpool // of the calling thread alone
	team         *C.struct_pg_team         // of as many threads as pool has, or nil
	watch        watch
	spare        unsafe.Pointer // memory for the next graph, or nil
	topology     uint64         // of the graph that the scheduler's memory plan was made for
	pinned       hostMemory     // that results are read into
	kept         map[*Graph]struct{}
	able         map[string]bool // what the device said that it can do
	counts       Counts
	busy         time.Duration
}

// NewBackend opens the device and starts the threads. The caller closes it
// after everything that was made with it.
func NewBackend(opts Options) (*Backend, error) {
	devices, err := FindDevices(opts.Device)
	if err != nil {
		return nil, err
	}
	threads := opts.Threads
	if threads == 0 {
		threads = DefaultThreads()
	}
	if threads < 1 || threads > MaxThreads() {
		return nil, fmt.Errorf("%d threads: want 1 to %d", threads, MaxThreads())
	}
	if !allocatable(reserved) {
		return nil, ErrMemory
	}
	b := &Backend{
		devices: devices, threads: granted(threads, startable), plain: opts.Plain, all: opts.All,
		written: opts.Written, tiles: cmp.Or(opts.Tiles, tileQueries), kept: map[*Graph]struct{}{},
	}
	b.refused = threads - b.threads
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Backend) open() error {
	if err := b.openDevices(); err != nil {
		return err
	}
	if b.pool = C.pg_threadpool(C.int(b.threads)); b.pool == nil {
		return fmt.Errorf("cannot start %d threads", b.threads)
	}
	if b.single = C.pg_threadpool(1); b.single == nil {
		return ErrMemory
	}
	if b.threads > 1 {
		b.team = C.pg_team_new(C.int(b.threads))
	}
	if !b.watch.open(b.cpu()) {
		return ErrMemory
	}
	b.sched = C.ggml_backend_sched_new(&b.backends[0], nil, C.int(len(b.backends)), maxTensors, false, true)
	if b.sched == nil {
		return errors.New("ggml's scheduler does not start")
	}
	return nil
}

// openDevices starts the backends of the devices, and the CPU's.
func (b *Backend) openDevices() error {
	for _, d := range b.devices {
		if d.Kind == KindCPU {
			b.places = append(b.places, -1) // once it is known
			continue
		}
		backend, err := d.open()
		if err != nil {
			return err
		}
		b.places = append(b.places, len(b.backends))
		b.backends = append(b.backends, backend)
	}
	cpu := C.ggml_backend_cpu_init()
	if cpu == nil {
		return errors.New("ggml's cpu backend does not start")
	}
	b.backends = append(b.backends, cpu)
	for i, place := range b.places {
		if place < 0 {
			b.places[i] = len(b.backends) - 1
		}
	}
	return nil
}

// Close frees the scheduler, the backends and the threads.
func (b *Backend) Close() {
	if b.sched != nil {
		C.ggml_backend_sched_free(b.sched)
		b.sched = nil
	}
	for _, backend := range b.backends {
		C.ggml_backend_free(backend)
	}
	b.backends = nil
	for _, pool := range []**C.struct_ggml_threadpool{&b.pool, &b.single} {
		if *pool != nil {
			C.ggml_threadpool_free(*pool)
			*pool = nil
		}
	}
	C.pg_team_free(b.team)
	b.team = nil
	b.watch.close()
	b.pinned.close()
	C.free(b.spare)
	b.spare = nil
}

// Devices returns what the backend computes on.
func (b *Backend) Devices() []Device { return b.devices }

// Threads is the number of CPU threads.
func (b *Backend) Threads() int { return b.threads }

// Busy returns how long graphs were computed so far, all else left out.
func (b *Backend) Busy() time.Duration { return b.busy }

// Refused is the number of threads that were wanted but that the system did not
// start (ulimit -u, a container's limit of processes).
func (b *Backend) Refused() int { return b.refused }

func (b *Backend) cpuOnly() bool { return len(b.backends) == 1 }

// at is the backend of the device at a place in the list of devices.
func (b *Backend) at(place int) C.ggml_backend_t { return b.backends[b.places[place]] }

// cpu is the backend of the CPU.
func (b *Backend) cpu() C.ggml_backend_t { return b.backends[len(b.backends)-1] }

// smallCost is the cost (see Graph) below which a graph is computed by one thread,
// in some 6 ms: a second one gains little where hundreds of operations are small, and
// where another process has its core it costs a time slice each.
const smallCost = 8e8

// nativeShare is the share of a graph's cost up to which ggml's own operations are
// left to one thread.
const nativeShare = 1.0 / 32

// staff is who computes a graph: threads of ggml's pool, of which each goes through
// every operation, or one thread that leads a team (team.h) in the custom ones.
type staff struct {
	pool    *C.struct_ggml_threadpool
	threads int
	team    *C.struct_pg_team // nil: none
}

// staff chooses one thread for a small graph, the team where custom operations are
// nearly all of a graph, and else ggml's threads. Those not chosen sleep.
func (b *Backend) staff(g *Graph) staff {
	switch {
	case g.cost < smallCost && !b.all:
		return staff{pool: b.single, threads: 1}
	case b.team != nil && g.native <= nativeShare*g.cost:
		return staff{pool: b.single, threads: 1, team: b.team}
	}
	return staff{pool: b.pool, threads: b.threads}
}

// slack is more than the small allocations of a computation need, at which ggml, Go
// and the C library do not look or end the process.
const slack = 64 << 20

// run allocates a graph, uploads its inputs and computes it. A context that ends stops
// the computation between two operations.
func (b *Backend) run(ctx context.Context, g *Graph) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.topology = 0 // the plan may be of a graph that got no memory
		}
	}()
	b.watch.reset()
	flagged := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		b.watch.abort()
		close(flagged)
	})
	defer func() {
		if !stop() {
			<-flagged // the flag's memory must outlive the function that sets it
		}
	}()
	sched, ok := b.plan(g)
	if !allocatable(slack) {
		return ErrMemory
	} else if !ok {
		return refusal(Names(b.devices))
	}
	g.upload()
	s := b.staff(g)
	C.ggml_backend_cpu_set_n_threads(b.cpu(), C.int(s.threads))
	C.ggml_backend_cpu_set_threadpool(b.cpu(), s.pool)
	b.watch.begin(g)
	defer b.watch.end()
	b.counts.Add(Counts{Computed: 1, Splits: int(C.ggml_backend_sched_get_n_splits(sched))})
	start := time.Now()
	status := C.pg_compute(sched, g.graph, s.team)
	b.busy += time.Since(start)
	switch status {
	case C.GGML_STATUS_SUCCESS:
		return nil
	case C.GGML_STATUS_ABORTED:
		if err := ctx.Err(); err != nil {
			return err
		}
		return errors.New("the computation was aborted")
	case C.GGML_STATUS_ALLOC_FAILED:
		return ErrMemory
	default:
		return fmt.Errorf("ggml failed with status %d", int(status))
	}
}

// plan gives the tensors of a graph memory, and returns the scheduler that computes it.
func (b *Backend) plan(g *Graph) (sched C.ggml_backend_sched_t, ok bool) {
	if g.kept != nil {
		return g.kept.plan(g)
	}
	C.ggml_backend_sched_reset(b.sched)
	ok = allocatable(slack) && b.prepare(g)
	b.assign(g, b.sched)
	return b.sched, ok && bool(C.ggml_backend_sched_alloc_graph(b.sched, g.graph))
}

// assign says which device the tensors are for that nothing else ties to one. The inputs of
// a single device would be copied to it from the CPU's memory.
func (b *Backend) assign(g *Graph, sched C.ggml_backend_sched_t) {
	for _, s := range g.scratch {
		C.ggml_backend_sched_set_tensor_backend(sched, s.tensor.c, b.at(s.place))
	}
	b.assignNear(g, sched)
	if b.cpuOnly() || len(b.devices) > 1 { // the CPU alone, or a scheduler that knows which of several
		return
	}
	for _, in := range g.inputs {
		C.ggml_backend_sched_set_tensor_backend(sched, in.tensor.c, b.at(0))
	}
}
