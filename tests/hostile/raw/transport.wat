;; The exports of a transport. What stands before it defines $dial.
(memory (export "memory") 1)
(data (i32.const 1040) "raw")
(data (i32.const 1048) "0.1.0")
;; result<plugin-info>: ok, name, version, no features
(data (i32.const 2048) "\00\00\00\00" "\10\04\00\00" "\03\00\00\00" "\18\04\00\00" "\05\00\00\00" "\00\00\00\00" "\00\00\00\00")
;; result<connection>: ok; the handle is at 2180, the bearer at 2184
(data (i32.const 2176) "\00\00\00\00" "\00\00\00\00" "\00\00\00\00")

(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
(func (export "bailiwick:lifecycle/plugin@0.1.0#init") (param i32) (result i32) (i32.const 2048))
(func (export "bailiwick:lifecycle/plugin@0.1.0#health") (result i32) (i32.const 2560))
(func (export "bailiwick:transport/dialer@0.1.0#bearers") (result i32) (i32.const 2560))
(func (export "bailiwick:transport/dialer@0.1.0#dial") (param i32 i32 i32 i32) (result i32) (call $dial) (i32.const 2176))
