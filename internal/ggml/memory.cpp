// What C++ calls where it gets no memory, in place of an exception that ends in a
// core dump, and where nobody catches an exception: that of a GPU's driver.
#include <exception>
#include <new>

extern "C" {
#include "end.h"

void pg_no_memory(void);
}

static void uncaught() {
	try {
		if (std::exception_ptr e = std::current_exception()) {
			std::rethrow_exception(e);
		}
		pg_device_failed("for a reason that it does not give");
	} catch (const std::bad_alloc &) {
		pg_no_memory();
	} catch (const std::exception & e) {
		pg_device_failed(e.what());
	} catch (...) {
		pg_device_failed("an exception");
	}
}

extern "C" void pg_set_handlers(void) {
	std::set_new_handler(pg_no_memory);
	std::set_terminate(uncaught);
}
