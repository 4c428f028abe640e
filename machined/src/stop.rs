//! The one place where a stop of the machine is asked for and watched. The API, the power button and init's
//! Ctrl-Alt-Del ask; `boot` hears it and runs `shutdown`; the API shows the step under way.
