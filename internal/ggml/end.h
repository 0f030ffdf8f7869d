// How the process ends where C code cannot go on.
#pragma once

// pg_end writes a message, a line, to standard error and ends the process: once, whatever
// other threads meet meanwhile. It calls only what may be called in a signal handler.
void pg_end(const char * message);

// pg_outlive_devices has the process go on where a device is gone: a byte is written to a
// pipe, and the thread that met it waits for ever.
void pg_outlive_devices(int fd);

// pg_device_failed ends the process, or has it outlive its devices, where a GPU's driver
// gave an error that nothing can be done about.
void pg_device_failed(const char * what);
